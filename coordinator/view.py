"""A coordinator's picture of the fleet: who is there, and how much room each has.

Everything in it is rebuilt from the registry and one round of heartbeats. Room is exact
between heartbeats, whatever number of coordinators forward: an agent reports how many tasks
of each coordinator it has taken, so each adds just its own that are still on their way.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from bus.client.brief import Brief
from bus.selectors import Selector, narrowest
from bus.wire.heartbeat import Heartbeat
from coordinator.entry import NOTHING, AgentEntry, Said
from coordinator.pool import Pool

MAX_POOLS: Final = 4096
"""Selectors remembered; the least recently used are forgotten when nothing waits on them."""

MAX_SAYINGS: Final = 10_000
"""Different words on configuration that are remembered to be shared."""

IN_FLIGHT: Final = 3.0
"""Seconds after which what was sent to an agent has arrived or is lost."""


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
        self.beyond: Callable[[Pool], None] = lambda _: None
        """Tells a pool of the other sides of links that may do its tasks."""

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
            self.beyond(pool)
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

    def pools(self) -> list[Pool]:
        """All there are now."""
        return list(self._pools.values())

    def capabilities(self) -> set[str]:
        """All that somebody offers now, here or beyond a link."""
        return {
            capability
            for (capability, select), pool in self._pools.items()
            if not select and (pool.members or pool.reach)
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
            entry.service_ms = beat.service_ms or NOTHING
            entry.failing = beat.failing or NOTHING
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
