"""A coordinator's picture of the fleet: who is there, and how much room each has.

Everything in it is rebuilt from the registry and one round of heartbeats. Room is exact
between heartbeats, whatever number of coordinators forward: an agent reports how many tasks
of each coordinator it has taken, so each adds just its own that are still on their way.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, Literal, NamedTuple

from bus.client.brief import Brief
from bus.selectors import Selector, narrowest
from bus.wire.heartbeat import Heartbeat
from coordinator.router import PREFERRED, expected_wait, rank, tier
from coordinator.sessions import Circle, on_circle
from coordinator.tiers import Tiers

Standing = Literal["ready", "draining", "suspect"]

MAX_POOLS: Final = 4096
"""Selectors remembered; the least recently used are forgotten when nothing waits on them."""

MAX_SAYINGS: Final = 10_000
"""Different words on configuration that are remembered to be shared."""

MAX_RANKS: Final = 10_000
"""Sessions of one pool whose ranking is remembered."""

IN_FLIGHT: Final = 3.0
"""Seconds after which what was sent to an agent has arrived or is lost."""

UNKNOWN_MS: Final = 1.0
"""Run time assumed where none is known: such agents only compete with each other."""


_NOTHING: Final[dict[str, float]] = {}
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
        self.service_ms = _NOTHING
        self.failing = _NOTHING
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


class Pool:
    """The agents that may get one kind of task: a capability, and a selector or none."""

    __slots__ = ("_circle", "_ranks", "capability", "free", "members", "room", "selector")

    def __init__(self, capability: str, selector: Selector) -> None:
        self.capability = capability
        self.selector = selector
        self.members: dict[str, AgentEntry] = {}
        self.free: Tiers[AgentEntry] = Tiers()
        """Members with room, by how good a place for a task they are."""
        self.room = 0
        """Sum over ``free``."""
        self._ranks: OrderedDict[str, list[str]] = OrderedDict()
        """Members that a session prefers, while they are few."""
        self._circle: Circle | None = None
        """All members, from the first session on that came when they were many."""

    def accepts(self, card: Brief) -> bool:
        """True if an agent with this card belongs here."""
        return self.capability in card.capabilities and card.matches(self.selector)

    def add(self, entry: AgentEntry) -> None:
        self.members[entry.id] = entry
        entry.pools.append(self)
        self._ranks.clear()
        if self._circle is not None:
            self._circle.add(entry.id)
        self.room += entry.room
        self.file(entry)

    def remove(self, entry: AgentEntry) -> None:
        del self.members[entry.id]
        entry.pools.remove(self)
        self._ranks.clear()
        if self._circle is not None:
            self._circle.remove(entry.id)
        self.room -= entry.room
        self.free.drop(entry)

    def file(self, entry: AgentEntry) -> None:
        """Put a member where it belongs now, in constant time."""
        if entry.room > 0:
            self.free.file(entry, entry.tier(self.capability))
        else:
            self.free.drop(entry)

    def preferred(self, session: str) -> AgentEntry | None:
        """The first agent of the session's ranking that has room."""
        for agent in self._ranking(session):
            entry = self.members[agent]
            if entry.room > 0:
                return entry
        return None

    def _ranking(self, session: str) -> Iterable[str]:
        if on_circle(session, len(self.members)):
            if self._circle is None:
                self._circle = Circle(self.members)
            return islice(self._circle.ranking(session), PREFERRED)
        ranking = self._ranks.get(session)
        if ranking is None:
            ranking = rank(session, self.members)
            self._ranks[session] = ranking
            if len(self._ranks) > MAX_RANKS:
                self._ranks.popitem(last=False)
        return ranking


class FleetView:
    """All agents, and the pools that they are in."""

    def __init__(self, me: str) -> None:
        self.agents: dict[str, AgentEntry] = {}
        self._me = me
        self._sayings: dict[Said, Said] = {}
        self._pools: OrderedDict[tuple[str, str], Pool] = OrderedDict()
        self._of: dict[str, list[Pool]] = {}
        """Pools by capability."""
        self.in_use: Callable[[Pool], bool] = lambda _: False
        """Asked before a pool is forgotten."""

    def __iter__(self) -> Iterator[AgentEntry]:
        return iter(self.agents.values())

    def __len__(self) -> int:
        return len(self.agents)

    @property
    def under_way(self) -> bool:
        """True while some agent has not reported all that it was sent as taken."""
        return any(entry.forwarded > entry.accepted for entry in self.agents.values())

    def pool(self, capability: str, select: str = "") -> Pool:
        """The pool of a capability and a selector, made at its first use.

        Raises:
            InvalidSelector: the selector cannot be parsed.
        """
        key = (capability, select)
        pool = self._pools.get(key)
        if pool is None:
            pool = Pool(capability, Selector.parse(select))
            for entry in self._candidates(pool):
                pool.add(entry)
            self._pools[key] = pool
            self._of.setdefault(capability, []).append(pool)
            if len(self._pools) > MAX_POOLS:
                self._forget(pool)
        elif select:
            self._pools.move_to_end(key)
        return pool

    def _candidates(self, pool: Pool) -> Iterator[AgentEntry]:
        """The agents that a new pool accepts."""
        scope = narrowest(pool.selector)
        if scope.kind == "agent":
            entry = self.agents.get(scope.name)
            if entry is not None and pool.accepts(entry.card):
                yield entry
            return
        # Agents that say the same of themselves share it (``brief``): asked once for them all.
        # Only a selector that names agents tells them apart.
        apart = any(term.key == "agent" for term in pool.selector.terms)
        known: dict[tuple[int, int, str], bool] = {}
        for entry in self.agents.values():
            card = entry.card
            kind = (id(card.labels), id(card.capabilities), card.site)
            accepted = None if apart else known.get(kind)
            if accepted is None:
                accepted = known[kind] = pool.accepts(card)
            if accepted:
                yield entry

    def capabilities(self) -> set[str]:
        """All that somebody offers now."""
        return {
            capability
            for (capability, select), pool in self._pools.items()
            if not select and pool.members
        }

    def put(self, card: Brief, revision: int) -> AgentEntry:
        """An agent registered, or changed its card. An older revision changes nothing."""
        entry = self.agents.get(card.agent)
        if entry is not None and revision < entry.revision:
            return entry
        if entry is not None and entry.incarnation == card.incarnation:
            entry.revision = revision
            if entry.card != card:
                entry.card = card
                entry.slots = max(1, card.slots)
                self._sort(entry)
                entry.settle()
            return entry
        if entry is not None:
            self.remove(entry)
        entry = AgentEntry(card, revision, time.monotonic())
        self.agents[card.agent] = entry
        entry.settle()  # before it is in any pool: they are told of its room once
        self._sort(entry)
        return entry

    def beat(self, entry: AgentEntry, beat: Heartbeat) -> None:
        """A heartbeat of this incarnation; one that arrives out of order changes nothing."""
        if beat.seq <= entry.seq:
            return
        entry.seq = beat.seq
        entry.last_seen = time.monotonic()
        entry.next_in = beat.next_in
        slots = max(1, beat.slots)
        told = slots != entry.slots
        entry.slots = slots
        entry.window = beat.window
        entry.reported = beat.running + beat.queued
        entry.accepted = beat.accepted.get(self._me, 0)
        if entry.forwarded < entry.accepted or entry.last_seen - entry.sent_at > IN_FLIGHT:
            # We were restarted under the same name, and what it took then is not on its way
            # now; or what it has not taken was lost with a connection.
            entry.forwarded = entry.accepted
        elif entry.forwarded > entry.accepted + entry.fresh:
            # Neither taken nor refused in all this time: a broken connection swallowed some.
            entry.forwarded = entry.accepted + entry.fresh
        if entry.service_ms != beat.service_ms or entry.failing != beat.failing:
            told = True
            entry.service_ms = beat.service_ms or _NOTHING
            entry.failing = beat.failing or _NOTHING
        entry.standing = "ready" if beat.state == "ready" else "draining"
        entry.said = self._said(beat)
        entry.settle(told)

    def _said(self, beat: Heartbeat) -> Said:
        """One object for all agents that say the same."""
        said = Said(beat.config, beat.rejected, beat.overrides > 0, tuple(beat.versions.items()))
        if len(self._sayings) > MAX_SAYINGS:
            self._sayings.clear()
        return self._sayings.setdefault(said, said)

    def remove(self, entry: AgentEntry) -> None:
        """An agent is gone."""
        if self.agents.get(entry.id) is entry:
            del self.agents[entry.id]
        for pool in list(entry.pools):
            pool.remove(entry)

    def _sort(self, entry: AgentEntry) -> None:
        """Put an agent into just the pools that accept its card."""
        for pool in list(entry.pools):
            if not pool.accepts(entry.card):
                pool.remove(entry)
        for capability in entry.card.capabilities:
            self.pool(capability)
            for pool in self._of[capability]:
                if entry.id not in pool.members and pool.accepts(entry.card):
                    pool.add(entry)

    def _forget(self, new: Pool) -> None:
        for key, pool in list(self._pools.items()):
            if key[1] and pool is not new and not self.in_use(pool):
                for entry in list(pool.members.values()):
                    pool.remove(entry)
                del self._pools[key]
                self._of[key[0]].remove(pool)
                return
