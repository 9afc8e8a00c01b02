"""What we ask of a schema beyond JSON Schema 2020-12: one dialect, and all of it in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_MAPS: Final = (
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
)
"""Keywords whose values are mappings of names to schemas."""
_DATA: Final = ("const", "enum", "default", "examples", "required", "dependentRequired")
"""Keywords whose values are no schemas."""

Place = tuple[str | int, ...]


def problems(schema: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Where it breaks our rules, and how. Pure.

    ``$ref`` may only point into the file itself: nothing is ever fetched.
    """
    dialect = schema.get("$schema", DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
        yield ("$schema",), f"{str(dialect)[:80]!r} is not supported: write {DIALECT!r}"
    anchors = {
        one[name]
        for _, one in _schemas(schema, ())
        for name in ("$anchor", "$dynamicAnchor")
        if isinstance(one.get(name), str)
    }
    for place, one in _schemas(schema, ()):
        if place:
            for name in ("$id", "$schema"):
                if isinstance(one.get(name), str):
                    yield (*place, name), f"{name} is allowed at the top only: remove it"
        for name in ("$ref", "$dynamicRef"):
            ref = one.get(name)
            if isinstance(ref, str) and (problem := _problem(schema, ref, anchors)):
                yield (*place, name), problem


def patterns(schema: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Where it has regular expressions, and which."""
    for place, one in _schemas(schema, ()):
        if isinstance(pattern := one.get("pattern"), str):
            yield (*place, "pattern"), pattern
        if isinstance(named := one.get("patternProperties"), dict):
            for pattern in named:
                yield (*place, "patternProperties", pattern), pattern


def _problem(schema: Mapping[str, Any], ref: str, anchors: set[str]) -> str:
    if not ref.startswith("#"):
        return (
            f"{ref[:120]!r} is elsewhere, and nothing is fetched: copy it under $defs and write "
            "'#/$defs/name'"
        )
    if ref == "#" or ref[1:] in anchors:
        return ""
    at: Any = schema
    for part in unquote(ref[1:]).split("/")[1:] if ref.startswith("#/") else [None]:
        name = None if part is None else part.replace("~1", "/").replace("~0", "~")
        if isinstance(at, dict) and name in at:
            at = at[name]
        elif isinstance(at, list) and name and name.isdecimal() and int(name) < len(at):
            at = at[int(name)]
        else:
            return f"{ref[:120]!r} points to nothing: define it under $defs"
    return "" if isinstance(at, (dict, bool)) else f"{ref[:120]!r} does not point to a schema"


def _schemas(value: Any, place: Place) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _schemas(one, (*place, index))
    elif isinstance(value, Mapping):
        yield place, value
        for name, one in value.items():
            if name in _DATA:
                continue
            if name in _MAPS and isinstance(one, dict):
                for key, below in one.items():
                    yield from _schemas(below, (*place, name, key))
            else:
                yield from _schemas(one, (*place, name))
