"""What the parts of the bridge share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bus import codec
from bus.config import Effective, Layers
from bus.connection import Bus
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.heartbeat import FleetPolicy
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from bus.wire.thing import MAX_TASK
from coordinator.things.beats import beat_of
from coordinator.things.clock import Clock
from coordinator.things.record import Holding, Record
from coordinator.things.records import Records
from coordinator.view import FleetView

AROUND: Final = 2048
"""Bytes that are left for the rest of a body."""


@dataclass
class Desk:
    """One coordinator's means to deal with things."""

    bus: Bus
    me: str
    """The coordinator's id."""
    records: Records
    view: FleetView
    clock: Clock
    policy: Callable[[], FleetPolicy]
    layers: Callable[[], Layers]
    """The configuration in force."""
    alive: Callable[[str], bool]
    """Whether a coordinator is there, by its id."""
    know: Callable[[str], Awaitable[None]]
    """To be called before a thing gets a card: listens to what is dispatched to it."""
    ack_wait: float = 10.0
    """Seconds until the broker gives a task to another."""

    @property
    def busy_every(self) -> float:
        """Seconds after which a thing that holds a task must be heard of."""
        return round(self.ack_wait / 3, 3)

    @property
    def most(self) -> int:
        """Bytes of the largest input, argument or configuration that a thing is sent. A server that
        takes small messages only must take it as base64, too, with what is around it."""
        return min(MAX_TASK, (self.bus.max_payload - AROUND) * 3 // 4)

    def lease(self, every: float) -> int:
        """Seconds that the registry entry of a thing lasts which is heard of so often."""
        return int(max(self.policy().lease, 3 * every))

    def beat(self, thing: str, record: Record, revision: int) -> None:
        """Send a heartbeat for a thing."""
        wanted = self.wanted(thing, record)
        runs = wanted is not None and record.config == wanted.hash
        commit = self.layers().commit if runs else ""
        beat = beat_of(thing, record, revision, commit, self.busy_every, self.clock.now())
        self.bus.send(self.bus.subjects.heartbeat(record.site, thing), codec.encode(beat))

    def wanted(self, thing: str, record: Record) -> Effective | None:
        """The configuration that a thing should have; None if it has never announced itself."""
        card = record.card
        if card is None:
            return None
        names = [one.name for one in card.capabilities]
        return self.layers().of(thing, card.site, card.labels, names)

    def give_back(self, thing: str, held: dict[str, Holding], *, all_of_it: bool) -> None:
        """What a thing held is nobody's now. The callers of calls are told.

        A coordinator hands back what it has forwarded itself as soon as it hears that an agent is
        lost or was restarted. Doing it for those who live would have tasks run twice.

        Args:
            all_of_it: the coordinators are told that it has left, and hand nothing back.
        """
        for task, job in held.items():
            if job.reply:
                error = ErrorInfo(f"thing {thing} was lost, or has lost the call", "AgentLost")
                lost = Result(task, "failed", error=error, agent=thing)
                self.bus.send(job.reply, block=results.encode(lost))
            elif all_of_it or not self.alive(job.via):
                self.bus.send(job.ack, b"-NAK")

    def extend(self, held: dict[str, Holding]) -> None:
        """Have the broker wait on for tasks that are being worked on."""
        for job in held.values():
            if job.ack:
                self.bus.send(job.ack, b"+WPI")


def refusal(reason: str) -> bytes:
    """The header block of an answer to a dispatch."""
    return h.encode([(h.BUSY, reason)])
