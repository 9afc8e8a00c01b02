"""What the processes of a simulated fleet say of themselves: one line of JSON each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec


class Report(msgspec.Struct, frozen=True):
    """What simulated agents know of themselves. Times are seconds of the monotonic clock, which
    all processes share."""

    agents: int
    registered: int
    """Since their connection was made last."""
    first_at: float
    """When the first of them began to join, or lost its connection."""
    all_at: float
    """When all were registered since then; 0 while they are not."""
    beats: int
    """Heartbeats sent."""
    tasks: int
    probes: int
    """Questions of coordinators whether they live."""
    refused: int
    """Registrations and questions that the broker did not take at the first try."""
    fetches: int
    """How often one of them has asked for its layers."""
    dropped: int
    """Writes to the configuration that could not be read."""
    called_dead: int
    """How often one of them heard that it is lost."""
    sent: int
    """Messages, those that ask for something included."""
    received: int
    late: float
    """Seconds by which the clock of their process was late at worst since the last report:
    what they do came so much later than the agents of a real fleet would have done it."""

    @classmethod
    def sum(cls, reports: Sequence[Self]) -> Self:
        """Several processes as one."""
        added = {
            name: sum(getattr(one, name) for one in reports)
            for name in cls.__struct_fields__
            if name not in ("first_at", "all_at", "late")
        }
        return cls(
            first_at=min(one.first_at for one in reports),
            all_at=max(one.all_at for one in reports) if all(r.all_at for r in reports) else 0.0,
            late=max(one.late for one in reports),
            **added,
        )


class Seen(msgspec.Struct, frozen=True):
    """What a coordinator knows of the fleet."""

    agents: int
    heard: int
    """Of those, with a heartbeat since the mark."""
    suspect: int
    lost: int
    """Ever."""
    room: int
    dropped: int
    """Messages that it could not handle."""


class Took(msgspec.Struct, frozen=True):
    """Microseconds of many decisions."""

    p50: float
    p99: float

    @classmethod
    def of(cls, took: Sequence[float]) -> Self:
        """All of them, of which there must be at least one."""
        ordered = sorted(took)
        last = len(ordered) - 1
        return cls(ordered[last * 50 // 100], ordered[last * 99 // 100])


class Decisions(msgspec.Struct, frozen=True):
    """How long decisions took, by what they were to go by."""

    nothing: Took
    """Any agent that offers the capability."""
    selector: Took
    """One that was used before."""
    new_selector: float
    """Microseconds by one that was never used before: once."""
    session: Took
    """One that was used before."""
    new_session: Took
