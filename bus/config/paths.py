"""Dotted paths into a configuration, as people write them: ``llm.model``, ``hosts."a.b".port``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bus.errors import InvalidPath

Path = tuple[str, ...]

_PLAIN: Final = re.compile(r'[^."\s\x00-\x1f]+')
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def parse(text: str) -> Path:
    """The names that a dotted path is made of, at least one.

    Raises:
        InvalidPath: it cannot be parsed.
    """
    names: list[str] = []
    at = 0
    while True:
        if plain := _PLAIN.match(text, at):
            names.append(plain[0])
            at = plain.end()
        elif quoted := _QUOTED.match(text, at):
            try:
                names.append(json.loads(quoted[0]))
            except ValueError:
                raise InvalidPath(text, f"{quoted[0]} is not a JSON string") from None
            at = quoted.end()
        else:
            raise InvalidPath(text, f"a name is missing at character {at + 1}")
        if at == len(text):
            return tuple(names)
        if text[at] != ".":
            raise InvalidPath(text, f"expected a dot at character {at + 1}")
        at += 1


def shown(path: Sequence[str]) -> str:
    """The text that ``parse`` turns back into ``path``."""
    return ".".join(
        name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in path
    )


MISSING: Final = object()
"""What ``find`` returns where there is nothing; None is a value."""


def find(values: Any, path: Sequence[str]) -> Any:
    """The value at ``path``, of mappings or of any object's attributes; else ``MISSING``."""
    for name in path:
        if isinstance(values, Mapping):
            values = values.get(name, MISSING)
        else:
            values = getattr(values, name, MISSING)
        if values is MISSING:
            break
    return values


def nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    """A mapping that holds ``value`` at ``path`` and nothing else."""
    for name in reversed(path):
        value = {name: value}
    made: dict[str, Any] = value
    return made


def nearest_line(lines: Mapping[str, int], path: Sequence[str]) -> int:
    """The line of ``path``, or of the nearest above it that has one; 0 if none has.

    Args:
        lines: by dotted path, as ``shown`` writes it; what a file has in a list has none.
    """
    for length in range(len(path), 0, -1):
        if line := lines.get(shown(path[:length]), 0):
            return line
    return 0
