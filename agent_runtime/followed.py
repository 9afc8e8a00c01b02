"""The layers on the bus as one agent hears of them, write by write. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bus.client.config import Change, State
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
    gap: bool = False
    """A head has come for writes that were not heard: they have to be fetched."""


NOTHING = Taken()


@dataclass(slots=True)
class Followed:
    """What counts by now, by the rules of ``bus.client.config.state``: a write of a batch does
    once the head of a later write has come, any other at once."""

    stored: dict[str, Stored] = field(default_factory=dict)
    """Layers by name."""
    head: ConfigHead | None = None
    head_revision: int = 0
    staged: dict[str, Change] = field(default_factory=dict)
    """Writes of a batch, by key, that wait for their head."""
    revisions: dict[str, int] = field(default_factory=dict)
    """By key, of the last write whatever it was."""
    unheard: set[str] = field(default_factory=set)
    """Keys whose last write does not count yet and was not heard: it is known of only."""

    @property
    def layers(self) -> Layers:
        newest = max(self.revisions.values(), default=0)
        return Layers(self.stored.values(), self.head, newest)

    def take(self, change: Change) -> Taken:
        """A write was heard. One that is not newer than what is known of its key is ignored."""
        if change.revision <= self.revisions.get(change.key, 0):
            return NOTHING
        self.revisions[change.key] = change.revision
        if change.problem:
            # Garbage: what was in force stays.
            return NOTHING
        if change.key == HEAD:
            return self._advance(change)
        self.unheard.discard(change.key)
        if change.batched and change.revision > self.head_revision:
            self.staged[change.key] = change
            return NOTHING
        self.staged.pop(change.key, None)
        return Taken(layers=(self._set(change),))

    def behind(self, state: State) -> bool:
        """Whether what was fetched is older than what was heard before: another server answered
        that is not up to date, or the bucket was made anew."""
        return any(
            revision > state.revisions.get(key, 0) for key, revision in self.revisions.items()
        )

    def _advance(self, change: Change) -> Taken:
        if not isinstance(change.value, ConfigHead):
            return NOTHING  # deleted: the layers stay, and so does where they come from
        if self.unheard:
            return Taken(gap=True)
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


def adopted(state: State, before: Followed, heard: Iterable[Change]) -> tuple[Followed, bool]:
    """What was fetched, with what was known ``before`` of batches without a head, and with what
    was ``heard`` meanwhile; and whether there is a gap in it."""
    made = Followed(
        stored=dict(state.layers.stored),
        head=state.layers.head,
        head_revision=state.head_revision,
        revisions=dict(state.revisions),
        unheard=_unheard(state.hollow),
    )
    heard = list(heard)
    for change in [*before.staged.values(), *heard]:
        known = state.revisions.get(change.key, 0)
        if change.batched and change.key in made.unheard and change.revision == known:
            made.unheard.discard(change.key)
            made.staged[change.key] = change
    gap = False
    for change in heard:
        gap = made.take(change).gap or gap
    return made, gap


def _unheard(hollow: Mapping[str, str]) -> set[str]:
    return {key for key in hollow if key != HEAD}
