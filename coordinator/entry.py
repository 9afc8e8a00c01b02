"""One agent as a coordinator sees it: what it has to do, and how much more it would take."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from bus.client.brief import Brief
from coordinator.router import expected_wait, tier

if TYPE_CHECKING:
    from coordinator.pool import Pool

Standing = Literal["ready", "draining", "suspect"]

UNKNOWN_MS: Final = 1.0
"""Run time assumed where none is known: such agents only compete with each other."""

NOTHING: Final[dict[str, float]] = {}
"""The run times, or failures, of all agents that have none: one dict for all of them."""


class Said(NamedTuple):
    """What a heartbeat says of an agent's configuration."""

    config: str
    rejected: str
    overridden: bool
    versions: tuple[tuple[str, str], ...]


class AgentEntry:
    """One agent, as this coordinator sees it."""

    __slots__ = (
        "accepted",
        "card",
        "crowd",
        "due",
        "failing",
        "forwarded",
        "fresh",
        "id",
        "incarnation",
        "last_seen",
        "next_in",
        "pools",
        "reported",
        "revision",
        "ring",
        "room",
        "said",
        "sent_at",
        "seq",
        "service_ms",
        "slots",
        "standing",
        "window",
    )

    def __init__(self, card: Brief, revision: int, now: float) -> None:
        self.id = card.agent
        self.incarnation = card.incarnation
        self.card = card
        self.revision = revision
        """Sequence of its registry entry."""
        self.standing: Standing = "ready"
        self.slots = max(1, card.slots)
        self.window = self.slots
        self.reported = 0
        """Running and queued, by its last heartbeat."""
        self.forwarded = 0
        """Sent by this coordinator in this incarnation and not refused."""
        self.fresh = 0
        """Of those, sent so lately that it may not have seen them yet."""
        self.accepted = 0
        """Of those, taken by its last heartbeat."""
        self.room = 0
        """As its pools count it; 0 unless it is ready."""
        self.crowd = 0
        """One more than what it has beyond its slots; 0 while one of them is free."""
        self.service_ms = NOTHING
        self.failing = NOTHING
        """Failures of late, by capability."""
        self.sent_at = 0.0
        """When this coordinator forwarded to it last, on the monotonic clock."""
        self.said: Said | None = None
        """What its last heartbeat said of its configuration."""
        self.seq = 0
        self.last_seen = now
        self.next_in = 0.0
        """Seconds after ``last_seen`` by which it promised to be heard of; 0 until it has."""
        self.due = 0
        """When the monitor looks whether it is late (``rota.Rota``); 0 while it need not."""
        self.pools: list[Pool] = []
        self.ring: OrderedDict[int, str] = OrderedDict()
        """Ack subjects by stream sequence of what was forwarded to it lately: a hint."""

    def __repr__(self) -> str:
        return f"<AgentEntry {self.id} {self.standing} room {self.room}>"

    @property
    def outstanding(self) -> int:
        """What it has to do, counting what is on its way."""
        return self.reported + self.forwarded - self.accepted

    def expected_wait(self, capability: str) -> float:
        """Milliseconds until one more task of ``capability`` would be done."""
        service = self.service_ms.get(capability, UNKNOWN_MS)
        return expected_wait(self.reported + self.forwarded - self.accepted, self.slots, service)

    def tier(self, capability: str) -> int:
        """How good a place it is for one more task of ``capability``."""
        return tier(
            self.reported + self.forwarded - self.accepted,
            self.slots,
            self.service_ms.get(capability),
            self.failing.get(capability, 0.0) if self.failing else 0.0,
        )

    def settle(self, told: bool = False) -> None:
        """Recompute the room after a change, and tell the pools. ``told``: more has changed than
        what it has to do."""
        outstanding = self.reported + self.forwarded - self.accepted
        room = 0
        if self.standing == "ready":
            room = max(0, self.window - outstanding)
        crowd = max(0, outstanding - self.slots + 1)
        change = room - self.room
        moved = told or crowd != self.crowd or (room > 0) != (self.room > 0)
        self.room, self.crowd = room, crowd
        for pool in self.pools:
            pool.room += change
            if moved:
                pool.file(self)
