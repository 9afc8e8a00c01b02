"""Answers as values: what is left out of them, whether two are the same, where they differ.

Pure. Two numbers are the same if they are equal, whether 1 or 1.0 was written; true is no number.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bus.config import paths

MAX_DEPTH: Final = 200
"""Levels of an answer: what looks into it calls itself for each."""

SHOWN: Final = 120
"""Characters of a value in a reason."""


class TooDeep(ValueError):
    """A value is nested deeper than ``MAX_DEPTH``."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """When two values count as the same."""

    subset: bool = False
    """Further keys of the second do not matter."""
    abs: float = 0.0
    rel: float = 0.0
    """Of the larger of two numbers."""

    @property
    def exact(self) -> bool:
        return not (self.subset or self.abs or self.rel)


class Difference(NamedTuple):
    """The first place where a value is not what it was to be."""

    path: str
    """Dotted; empty for the value as a whole."""
    found: str
    wanted: str

    def said(self, wanted_by: str) -> str:
        """``items.0.name: "a", expected "b"``, if ``wanted_by`` is ``expected``."""
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.found}, {wanted_by} {self.wanted}"


class Seen(NamedTuple):
    """A value that was an answer, less what is ignored."""

    key: bytes
    """The same for two that are equal."""
    value: Any


def seen(value: Any, ignore: Sequence[paths.Path] = ()) -> Seen:
    """An answer as it is compared.

    Raises:
        TooDeep: it is nested deeper than ``MAX_DEPTH``.
    """
    if isinstance(value, bytes):
        value = _text_of_bytes(value)
    kept = without(value, ignore)
    return Seen(hashlib.blake2b(_canonical(kept), digest_size=16).digest(), kept)


def without(value: Any, ignore: Sequence[paths.Path], depth: int = 0) -> Any:
    """``value`` less what stands at the paths ``ignore``. An item of a list becomes null, so
    that those behind it keep their places.

    Raises:
        TooDeep: it is nested deeper than ``MAX_DEPTH``.
    """
    if depth > MAX_DEPTH:
        raise TooDeep(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        made = {}
        for name, one in value.items():
            inner = _under(ignore, str(name))
            if () not in inner:
                made[name] = without(one, inner, depth + 1)
        return made
    if isinstance(value, list):
        items = []
        for index, one in enumerate(value):
            inner = _under(ignore, str(index))
            items.append(None if () in inner else without(one, inner, depth + 1))
        return items
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def text_of(value: Any) -> str:
    """What a regular expression is searched in: a string itself, else its JSON."""
    return value if isinstance(value, str) else _canonical(value).decode()


def difference(
    wanted: Any, found: Any, like: Likeness, path: tuple[str, ...] = ()
) -> Difference | None:
    """The first place where ``found`` is not like ``wanted``; None if there is none.

    Neither may be nested deeper than ``MAX_DEPTH``: ``without`` sees to that.
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, one in wanted.items():
            if name not in found:
                return Difference(paths.shown((*path, name)), "nothing", short(one))
            if inner := difference(one, found[name], like, (*path, name)):
                return inner
        more = [] if like.subset else [name for name in found if name not in wanted]
        if more:
            return Difference(paths.shown((*path, more[0])), short(found[more[0]]), "nothing")
        return None
    if isinstance(wanted, list) and isinstance(found, list):
        for index, (one, other) in enumerate(zip(wanted, found, strict=False)):
            if inner := difference(one, other, like, (*path, str(index))):
                return inner
        if len(wanted) != len(found):
            return Difference(paths.shown(path), _items(found), _items(wanted))
        return None
    if _same(wanted, found, like):
        return None
    return Difference(paths.shown(path), short(found), short(wanted))


def short(value: Any, limit: int = SHOWN) -> str:
    """A value as JSON, cut where it is long."""
    # Of a long text no more is encoded than is shown.
    if isinstance(value, str) and len(value) > limit:
        return f"{json.dumps(value[:limit], ensure_ascii=False)[:limit]}… ({len(value)} characters)"
    shown = _canonical(value).decode()
    return shown if len(shown) <= limit else f"{shown[:limit]}… ({len(shown)} characters)"


def _under(ignore: Sequence[paths.Path], name: str) -> list[paths.Path]:
    return [path[1:] for path in ignore if path and path[0] in (name, "*")]


def _same(one: Any, other: Any, like: Likeness) -> bool:
    if _number(one) and _number(other):
        if one == other:
            return True
        try:
            return math.isclose(one, other, rel_tol=min(like.rel, 1.0), abs_tol=like.abs)
        except OverflowError:
            # A whole number beyond what a float holds: only equality can be told.
            return False
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    same: bool = one == other
    return same


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _items(value: list[Any]) -> str:
    return "1 item" if len(value) == 1 else f"{len(value)} items"


def _canonical(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
