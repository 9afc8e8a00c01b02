"""The agents that may get one kind of task, with those first that would be done with it first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from bus.client.brief import Brief
from bus.selectors import Selector
from coordinator.entry import AgentEntry
from coordinator.router import PREFERRED, rank
from coordinator.sessions import Circle, on_circle
from coordinator.tiers import Tiers

if TYPE_CHECKING:
    from coordinator.sites.place import Place

MAX_RANKS: Final = 10_000
"""Sessions of one pool whose ranking is remembered."""


class Pool:
    """The agents that may get one kind of task: a capability, and a selector or none."""

    __slots__ = (
        "_circle",
        "_ranks",
        "beyond",
        "capability",
        "free",
        "left",
        "members",
        "reach",
        "room",
        "selector",
    )

    def __init__(self, capability: str, selector: Selector) -> None:
        self.capability = capability
        self.selector = selector
        self.members: dict[str, AgentEntry] = {}
        self.free: Tiers[AgentEntry] = Tiers()
        """Members with room, by how good a place for a task they are."""
        self.room = 0
        """Sum over ``free``."""
        self.beyond: tuple[Place, ...] = ()
        """Other sides of links where somebody may do such tasks."""
        self.reach = 0
        """Tasks that may be ordered for them, beside those that there is room for here."""
        self.left = 0.0
        """When the last member went, on the monotonic clock; 0 if there never was one."""
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
        if not self.members:
            self.left = time.monotonic()
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
