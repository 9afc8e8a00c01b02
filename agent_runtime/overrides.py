"""Runtime overrides: values that an operator has set on this process, for a time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bus.config import paths
from bus.config.provenance import leaves
from bus.errors import FleetError
from bus.wire.config import Override

LONGEST: Final = 7 * 86_400
"""Seconds to live at the most: what is meant to stay belongs in the repository."""

MOST: Final = 1000


class InvalidOverride(FleetError):
    """An override cannot be set."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One override, and when it ends on the monotonic clock: the other may be put right."""

    override: Override
    ends: float


Entries = tuple[Entry, ...]
"""In the order in which they were set: the later one wins."""


def laid(
    entries: Entries, values: Mapping[str, Any], by: str, ttl: float, now: float, now_ms: int
) -> Entries:
    """``entries`` with each value of the nested ``values`` set as well, for ``ttl`` seconds from
    ``now`` (monotonic, and Unix time in milliseconds).

    Raises:
        InvalidOverride: there is nothing to set, or too much.
    """
    new = [
        Entry(Override(paths.shown(path), value, by, now_ms, now_ms + int(ttl * 1000)), now + ttl)
        for path, value in leaves(values)
    ]
    if not new:
        raise InvalidOverride(
            'values: nothing to set; give values by name: {"llm": {"model": "x"}}'
        )
    again = {one.override.path for one in new}
    made = (*(one for one in entries if one.override.path not in again), *new)
    if len(made) > MOST:
        raise InvalidOverride(
            f"{len(made)} overrides, more than {MOST}: change the repository instead"
        )
    return made


def cleared(entries: Entries, keys: Iterable[str]) -> tuple[Entries, list[str]]:
    """What is left without those at or below one of the dotted ``keys`` (all if there are none),
    and the paths of the others.

    Raises:
        InvalidPath: a key is not a dotted path.
    """
    wanted = [paths.parse(key) for key in keys] or [()]
    gone = [
        one
        for one in entries
        if any(paths.parse(one.override.path)[: len(path)] == path for path in wanted)
    ]
    kept = tuple(one for one in entries if one not in gone)
    return kept, [one.override.path for one in gone]


def alive(entries: Entries, now: float) -> Entries:
    """Those that have not ended by ``now``, on the monotonic clock."""
    return tuple(one for one in entries if one.ends > now)


def patches(entries: Entries) -> list[dict[str, Any]]:
    """A layer for each, to be laid over the others."""
    return [paths.nested(paths.parse(one.override.path), one.override.value) for one in entries]
