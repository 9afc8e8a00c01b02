"""What the fleet knows of one thing: the value of its record.

Coordinators keep nothing. All that concerns a thing meets in its record, which is changed only by
compare-and-set with a pure function; whoever gets a message does the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from bus.wire.card import Card

PAST: Final = 64
"""Tasks remembered that a thing has held: it may still come with their results."""

SLACK_MS: Final = 1000
"""Milliseconds by which a state may be later than twice its interval."""


class Holding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task (``ack`` is set) or a call (``reply`` is set) that a thing was given."""

    capability: str
    taken_ms: int
    """When it was given to the thing."""
    sent_ms: int = 0
    """When it was sent to the device last."""
    attempt: int = 1
    max_attempts: int = 3
    ack: str = ""
    reply: str = ""
    via: str = ""
    """The coordinator that forwarded it."""
    deadline_ms: int = 0
    queued_ms: float = 0.0


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing. Moments are Unix milliseconds on the broker's clock."""

    boot: str = ""
    """Which run of it; empty for one that has never announced itself."""
    former: str = ""
    """The run before."""
    card: Card | None = None
    online: bool = False
    leaving: bool = False
    """Its will has come, and the grace is not over."""
    draining: bool = False
    seen: int = 0
    """Stream sequence of the newest that it said of itself: older words change nothing. A shared
    consumer has no order; this gives it back."""
    seen_ms: int = 0
    """When the broker stored that."""
    last_ms: int = 0
    """When it was heard of."""
    leased_ms: int = 0
    """When its registry entry was renewed."""
    every: float = 10.0
    """Seconds between two states."""
    config: str = ""
    """Hash of the configuration that it runs."""
    rejected: str = ""
    told: str = ""
    """Hash of the one that it was sent."""
    told_ms: int = 0
    heap: int = 0
    heap_free: int = 0
    done: int = 0
    failed: int = 0
    service_ms: dict[str, float] = {}
    accepted: dict[str, int] = {}
    """Tasks and calls taken in this boot, by coordinator."""
    held: dict[str, Holding] = {}
    past: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """All capabilities that it has ever offered. Each costs the server consumers, so they are
    bounded."""

    @property
    def state(self) -> str:
        """``ready``, ``draining`` or ``gone``."""
        if not self.online:
            return "gone"
        return "draining" if self.draining or self.leaving else "ready"

    @property
    def slots(self) -> int:
        return self.card.slots if self.card is not None else 1

    @property
    def site(self) -> str:
        return self.card.site if self.card is not None else "default"


NOTHING: Final = Record()


def older(record: Record, sequence: int, at_ms: int) -> bool:
    """True if a word of the thing is older than what is known of it.

    Args:
        sequence: of the word in the stream.
        at_ms: when the broker stored it. A lower sequence that is younger is of a stream that was
            made anew, since the old one was deleted or lost.
    """
    return sequence < record.seen and at_ms <= record.seen_ms


def late(record: Record, now_ms: int) -> bool:
    """True if the thing should have been heard of long ago."""
    return now_ms - record.last_ms > 2000 * record.every + SLACK_MS


def remembered(record: Record, ended: Mapping[str, Holding]) -> tuple[str, ...]:
    """``record.past`` with the tasks of ``ended``. Not with its calls: they are stored nowhere, and
    a result that is said again must not be, either."""
    kept = [one for one in record.past if one not in ended]
    return tuple([*kept, *(task for task, job in ended.items() if job.ack)][-PAST:])
