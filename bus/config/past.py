"""What a history of writes has led to, and what it was on the way. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bus.config.changes import Change
from bus.config.followed import Followed
from bus.config.layers import Layers, Stored
from bus.wire.config import ConfigHead


@dataclass(frozen=True, slots=True)
class State:
    """The configuration as it is on the bus."""

    followed: Followed
    layers: Layers
    edited: tuple[Change, ...]
    """Writes after the head that belong to no sync: somebody edited what comes from Git."""
    sequence: int = 0
    """Last one of the stream at that time: for compare-and-set of the whole bucket."""

    @property
    def ignored(self) -> Mapping[str, str]:
        """Keys whose last value does not count, and why: agents go on with the one before."""
        return self.followed.ignored

    @property
    def revisions(self) -> Mapping[str, int]:
        """By key, of the last write whatever it was: for compare-and-set."""
        return self.followed.revisions


def state(changes: Iterable[Change], sequence: int = 0) -> State:
    """What ``changes``, the oldest first, have led to, by the rules of ``Followed``."""
    followed = Followed()
    last: dict[str, Change] = {}
    for change in changes:
        followed.take(change)
        last[change.key] = change
    since = followed.head_revision
    edited = (one for one in last.values() if since and one.revision > since and not one.batched)
    return State(followed, followed.layers, tuple(edited), sequence)


class Moment:
    """The configuration as it was from a write on."""

    def __init__(self, at: float, past: Past, index: int) -> None:
        self.at = at
        """Unix time of the write, on the server's clock."""
        self._past = past
        self._index = index

    @cached_property
    def layers(self) -> Layers:
        """Put together when somebody asks: of a long history few are."""
        return self._past.layers(self._index)


class Past:
    """Each state that counted, oldest first; what the bucket has forgotten is missing here too.

    Args:
        changes: the oldest first.
    """

    def __init__(self, changes: Iterable[Change]) -> None:
        self.moments: list[Moment] = [Moment(0.0, self, 0)]
        """The first is the empty bucket."""
        self._heads: list[ConfigHead | None] = [None]
        self._indexes: dict[str, list[int]] = {}
        """By layer: the moments at which it changed."""
        self._values: dict[str, list[Stored | None]] = {}
        followed = Followed()
        for change in changes:
            taken = followed.take(change)
            if not (taken.layers or taken.head):
                continue
            index = len(self.moments)
            self.moments.append(Moment(change.at_s, self, index))
            self._heads.append(followed.head)
            for name in taken.layers:
                self._indexes.setdefault(name, []).append(index)
                self._values.setdefault(name, []).append(followed.stored.get(name))

    def layers(self, index: int) -> Layers:
        """The layers at a moment."""
        stored = []
        for name, indexes in self._indexes.items():
            place = bisect_right(indexes, index)
            value = self._values[name][place - 1] if place else None
            if value is not None:
                stored.append(value)
        return Layers(stored, self._heads[index])
