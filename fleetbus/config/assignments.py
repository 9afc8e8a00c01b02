"""``llm.model=large`` on the command line, as a configuration. No I/O but reading named files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from bus.config import paths
from fleetbus.task.inputs import guess

_PAIR: Final = re.compile(r'((?:[^="]|"(?:[^"\\]|\\.)*")*?)(:=|=)(.*)', re.DOTALL)


def assigned(pairs: Iterable[str]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as a layer of configuration.

    A value is JSON if it can be read as such, else text; ``KEY:=VALUE`` must be JSON, and
    ``KEY=@FILE`` is a file's text. ``null`` is kept: it removes what earlier layers have set.

    Raises:
        ValueError: naming the pair that cannot be used, and why.
        InvalidPath: a key is no dotted path.
    """
    made: dict[str, Any] = {}
    seen: list[paths.Path] = []
    for pair in pairs:
        found = _PAIR.fullmatch(pair)
        if found is None or not found[1]:
            raise ValueError(f"{pair!r} is not KEY=VALUE")
        path = paths.parse(found[1])
        for other in seen:
            if path[: len(other)] == other or other[: len(path)] == path:
                raise ValueError(f"{found[1]!r} and {paths.shown(other)!r} exclude each other")
        seen.append(path)
        _put(made, path, _value(pair, found[2], found[3]))
    return made


def _put(into: dict[str, Any], path: paths.Path, value: Any) -> None:
    for name in path[:-1]:
        into = into.setdefault(name, {})
    into[path[-1]] = value


def _value(pair: str, sign: str, text: str) -> Any:
    if text.startswith("@") and sign == "=":
        try:
            return Path(text[1:]).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as problem:
            raise ValueError(f"{pair!r}: {problem}") from None
    if sign == "=":
        return guess(text)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as problem:
        raise ValueError(f"{pair!r} is not JSON: {problem}") from None


def laid(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``values`` with ``over`` laid on it, but with what ``over`` removes kept as ``null``."""
    made = dict(values)
    for name, one in over.items():
        below = made.get(name)
        if isinstance(one, dict) and isinstance(below, dict):
            made[name] = laid(below, one)
        else:
            made[name] = one
    return made


def without(values: dict[str, Any], path: paths.Path) -> dict[str, Any]:
    """``values`` without what is at ``path``, and without mappings that this leaves empty.

    Raises:
        KeyError: there is nothing at ``path``.
    """
    name, rest = path[0], path[1:]
    made = dict(values)
    if not rest:
        del made[name]
        return made
    below = made[name]
    if not isinstance(below, dict):
        raise KeyError(name)
    made[name] = without(below, rest)
    if not made[name]:
        del made[name]
    return made
