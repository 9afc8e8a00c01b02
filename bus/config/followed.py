"""The layers on the bus as they are heard of, write by write. Pure.

A write of a batch counts once the head of a later write has come, any other at once. What cannot be
read does not count, and the head cannot be deleted: what was in force stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bus.config.changes import Change
from bus.config.layers import Layers, Stored
from bus.subjects import HEAD
from bus.wire.config import ConfigHead, ConfigLayer


@dataclass(frozen=True, slots=True)
class Taken:
    """What a write has changed."""

    layers: tuple[str, ...] = ()
    """Names of layers that are others now, or gone."""
    head: bool = False
    """There is another head."""


NOTHING = Taken()


@dataclass(slots=True)
class Followed:
    """What counts by now."""

    stored: dict[str, Stored] = field(default_factory=dict)
    """Layers by name."""
    head: ConfigHead | None = None
    head_revision: int = 0
    staged: dict[str, Change] = field(default_factory=dict)
    """Writes of a batch, by key, that wait for their head."""
    revisions: dict[str, int] = field(default_factory=dict)
    """By key, of the last write whatever it was."""
    times: dict[str, str] = field(default_factory=dict)
    """By key, when that was stored."""
    latest: int = 0
    """The highest revision."""
    garbled: dict[str, str] = field(default_factory=dict)
    """Keys whose last write cannot be used, and why."""

    @property
    def layers(self) -> Layers:
        return Layers(self.stored.values(), self.head)

    @property
    def ignored(self) -> dict[str, str]:
        """Keys whose last write does not count, and why."""
        waiting = dict.fromkeys(self.staged, "belongs to a sync that was interrupted")
        return {**waiting, **self.garbled}

    def take(self, change: Change) -> Taken:
        """A write was heard. One that is not newer than what is known of its key is ignored."""
        if change.revision <= self.revisions.get(change.key, 0):
            return NOTHING
        self.revisions[change.key] = change.revision
        self.times[change.key] = change.at
        self.latest = max(self.latest, change.revision)
        self.garbled.pop(change.key, None)
        if change.problem:
            self.garbled[change.key] = change.problem
            return NOTHING
        if change.key == HEAD:
            return self._advance(change)
        if change.batched and change.revision > self.head_revision:
            self.staged[change.key] = change
            return NOTHING
        self.staged.pop(change.key, None)
        return Taken(layers=(self._set(change),))

    def _advance(self, change: Change) -> Taken:
        if not isinstance(change.value, ConfigHead):
            self.garbled[change.key] = "was deleted, which undoes nothing"
            return NOTHING
        if not change.batched:
            self.garbled[change.key] = "was written by no sync"
            return NOTHING
        self.head, self.head_revision = change.value, change.revision
        ripe = [one for one in self.staged.values() if one.revision <= change.revision]
        for one in ripe:
            del self.staged[one.key]
        return Taken(layers=tuple(self._set(one) for one in ripe), head=True)

    def _set(self, change: Change) -> str:
        name = change.layer
        if isinstance(change.value, ConfigLayer):
            self.stored[name] = Stored(name, change.value, change.revision)
        else:
            self.stored.pop(name, None)
        return name

    def contradicts(self, change: Change) -> bool:
        """Whether a write that is heard now cannot follow what is known: the bucket counts anew,
        and may have come to a revision that is known by another write."""
        if change.revision > self.latest:
            return False
        known = self.revisions.get(change.key, 0), self.times.get(change.key)
        return known != (change.revision, change.at)

    def behind(self, other: Followed) -> list[str]:
        """Keys of which ``other`` knows a later write."""
        return [
            key
            for key, revision in other.revisions.items()
            if revision > self.revisions.get(key, 0)
        ]
