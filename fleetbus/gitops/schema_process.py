"""The process that checks values against a schema, run as a script.

It is killed if it takes too long: a schema may hold regular expressions and references that take
for ever. Its input is one JSON object: ``schema``, its ``patterns`` (place and text of each), and
``checks``, each with ``values`` and ``partial``. It answers in lines of JSON: what is wrong with
the schema, then for each check what is wrong with its values, both as lists of [path, rule,
message, place in the schema, mendable].

Partial values are one layer of several: of a mapping nothing is required that another layer may
bring, and null removes. Lists are replaced as a whole, so what is in them is held to everything.
A reference to a secret fits everywhere: only the agent knows what it stands for. ``mendable`` is
what a further layer could mend by adding to a mapping.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

MOST: Final = 50
"""Errors of one check."""
SECRET: Final = "secret://"

Keyword = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]

ONLY_WHOLE: Final = frozenset(
    {
        "required",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "if",
        "not",
        "unevaluatedProperties",
        "const",
        "enum",
    }
)
"""What a mapping that is laid over others cannot be held to."""

OF_LISTS: Final = frozenset({"items", "prefixItems", "contains", "unevaluatedItems"})
MENDABLE: Final = frozenset({"required", "minProperties", "dependentRequired", "anyOf", "oneOf"})


class _Depth:
    """How many lists we are inside of."""

    def __init__(self) -> None:
        self.lists = 0


def checker(schema: Any, partial: bool) -> Any:
    """A validator with our rules; never fetches anything."""
    depth = _Depth()
    stock: dict[str, Keyword] = dict(Draft202012Validator.VALIDATORS)
    ours = {name: _keyword(name, stock, partial, depth) for name in stock}
    return extend(Draft202012Validator, ours)(schema, registry=Registry())


def _keyword(name: str, stock: Mapping[str, Keyword], partial: bool, depth: _Depth) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        rule = stock[name]
        if isinstance(instance, str) and instance.startswith(SECRET):
            return
        if partial and not depth.lists and isinstance(instance, dict):
            if name in ONLY_WHOLE:
                return
            # With less required, several alternatives may fit.
            rule = stock["anyOf"] if name == "oneOf" else rule
        if name in OF_LISTS:
            depth.lists += 1
            try:
                found = list(rule(validator, value, instance, schema) or ())
            finally:
                depth.lists -= 1
            yield from found
        else:
            yield from rule(validator, value, instance, schema) or ()

    return check


def schema_errors(schema: Any) -> list[list[Any]]:
    """What is wrong with ``schema`` itself."""
    meta = Draft202012Validator(
        Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    try:
        found = islice(meta.iter_errors(schema), MOST)
        return [
            [path, rule, text, "", False]
            for one in found
            for path, rule, text, *_ in _described(one)
        ]
    except RecursionError:
        return [[[], "", "it is nested too deep", "", False]]


def pattern_errors(patterns: Iterable[list[Any]]) -> list[list[Any]]:
    """Which of ``patterns`` (place and text of each) are no regular expressions."""
    found: list[list[Any]] = []
    for place, pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            message = f"{_clip(pattern)!r} is not a regular expression: {error}"
            found.append([place, "pattern", message, "", False])
    return found


def errors(validator: Any, values: Any) -> Iterator[list[Any]]:
    """What is wrong with ``values``."""
    try:
        for error in islice(validator.iter_errors(values), MOST):
            yield from _described(error)
    except RecursionError:
        yield [[], "$ref", "the schema refers to itself without end", "", False]
    except Unresolvable as error:
        yield [[], "$ref", f"the schema refers to nothing: {_clip(str(error))}", "", False]


def _described(error: ValidationError) -> Iterator[list[Any]]:
    path, rule = list(error.absolute_path), str(error.validator)
    place = "/".join(["#", *map(_escaped, error.absolute_schema_path)])
    if names := _unexpected(error):
        for name in names:
            yield [[*path, name], rule, "the schema has no such key here", place, False]
        return
    message = _message(error)
    nearest = best_match([error])
    if error.context and nearest is not None and nearest is not error:
        inner = ".".join(map(str, nearest.absolute_path))
        message += f"; the nearest one says{f' of {inner}' if inner else ''}: {_message(nearest)}"
    mendable = isinstance(error.instance, dict) and rule in MENDABLE
    yield [path, rule, message, place, mendable]


def _message(error: Any) -> str:
    """Short, whatever the value is."""
    value = error.validator_value
    match error.validator:
        case "required" if isinstance(value, list):
            # One error each: the name is in its message only.
            return _clip(str(error.message).replace(" is a required property", " is missing"))
        case "anyOf" | "oneOf" if error.context:
            return f"{_clip(repr(error.instance))} fits none of the alternatives"
        case "not":
            return "is what the schema forbids"
        case _:
            return _clip(str(error.message))


def _unexpected(error: ValidationError) -> list[str]:
    """The keys that ``additionalProperties: false`` forbids."""
    if error.validator != "additionalProperties" or error.validator_value is not False:
        return []
    if not isinstance(error.instance, dict) or not isinstance(error.schema, dict):
        return []
    known = error.schema.get("properties", {})
    patterns = error.schema.get("patternProperties", {})
    return [
        name
        for name in error.instance
        if name not in known and not any(re.search(one, name) for one in patterns)
    ]


def _without_nulls(values: Any) -> Any:
    """Removals taken out; in lists null is a value."""
    if not isinstance(values, dict):
        return values
    return {name: _without_nulls(one) for name, one in values.items() if one is not None}


def _escaped(name: Any) -> str:
    return str(name).replace("~", "~0").replace("/", "~1")


def _clip(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:100]} … {text[-57:]}"


def _say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    question = json.load(sys.stdin)
    schema = question["schema"]
    wrong = schema_errors(schema) or pattern_errors(question["patterns"])
    _say(wrong)
    if wrong:
        return
    whole, partial = checker(schema, False), checker(schema, True)
    for check in question["checks"]:
        if check["partial"]:
            _say(list(errors(partial, _without_nulls(check["values"]))))
        else:
            _say(list(errors(whole, check["values"])))


def _limit(seconds: int) -> None:
    """End by itself should nobody be left to kill us."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


if __name__ == "__main__":
    _limit(int(sys.argv[1]))
    main()
