"""Whom to look at, and when: so that a watch over many agents costs what few of them cost.

An agent is put down for the moment from which it would be late. Heartbeats that come meanwhile
change nothing here; when the moment has come, whoever was heard of since is put down anew. So
each agent is looked at about once a heartbeat, however often somebody looks at the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Watched(Protocol):
    """What the rota writes into those whom it has put down."""

    due: int
    """Its slot; 0 for none."""


W = TypeVar("W", bound=Watched)


class Rota(Generic[W]):
    """Slots of equal length, each a list of those whose moment falls into it. Pure: whoever
    uses it brings the time, which must not go back and must be positive."""

    def __init__(self, slot: float, now: float) -> None:
        """``slot``: seconds."""
        self._slot = slot
        self._slots: dict[int, list[W]] = {}
        self._next = int(now / slot) + 1
        """The first slot that was not handed out."""

    def put(self, one: W, at: float) -> None:
        """Look at ``one`` at ``at``, or up to a slot later, or earlier if it is put down for
        earlier already."""
        slot = max(int(at / self._slot) + 1, self._next)
        if one.due and one.due <= slot:
            return
        one.due = slot
        self._slots.setdefault(slot, []).append(one)

    def take(self, now: float) -> Iterator[W]:
        """Those whose moment has come, each once. Put down again who is to be looked at again."""
        last = int(now / self._slot)
        while self._next <= last:
            slot = self._next
            self._next += 1
            for one in self._slots.pop(slot, ()):
                if one.due == slot:  # it was not put down for an earlier moment since
                    one.due = 0
                    yield one
