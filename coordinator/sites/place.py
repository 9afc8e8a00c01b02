"""Another side of a link as a place for tasks: like one agent that is all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bus.client.brief import Brief
from bus.selectors import Selector
from bus.sites import HUB
from bus.wire.heartbeat import Heartbeat
from bus.wire.site import SitePolicy, Spill
from coordinator.pool import Pool
from coordinator.router import expected_wait
from coordinator.sites.spill import named

UNKNOWN_MS: Final = 1.0
"""Run time assumed where none is known."""

FEW: Final = 32
"""Tasks ordered from the queue for a place that is given only what nobody else does."""

MANY: Final = 256
"""Likewise for one that shares the work."""


class Place:
    """A site, as the hub's coordinators see it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connected = False
        self.policy = SitePolicy()
        self.briefs: dict[str, Brief] = {}
        """Its agents by id."""
        self.beats: dict[str, Heartbeat] = {}
        self.handed = 0
        """Tasks handed over since its last report."""
        self._room = 0
        self._slots = 0
        self._outstanding = 0
        self._service: dict[str, float] = {}

    @property
    def spill(self) -> Spill:
        return self.policy.spill

    @property
    def accepts(self) -> tuple[str, ...]:
        return self.policy.accepts

    @property
    def room(self) -> int:
        """Tasks that its agents would take, by their last heartbeats."""
        return self._room - self.handed

    @property
    def reach(self) -> int:
        """Tasks to order from the queue for it, beside those that there is room for here. While it
        is away, too: those that name it are to be found."""
        return FEW if self.spill == "never" or not self.connected else MANY

    @property
    def capabilities(self) -> set[str]:
        return {name for one in self.briefs.values() for name in one.capabilities}

    def names(self, selector: Selector) -> bool:
        """True if ``selector`` means this site, or an agent of it."""
        return named(selector, self.name, self.briefs)

    def may_do(self, pool: Pool) -> bool:
        """True if an agent of it belongs in ``pool``."""
        # Agents that say the same of themselves share it (``brief``): asked once for them all.
        apart = any(term.key == "agent" for term in pool.selector.terms)
        known: set[tuple[int, int, str]] = set()
        for one in self.briefs.values():
            kind = (id(one.labels), id(one.capabilities), one.site)
            if apart or kind not in known:
                known.add(kind)
                if pool.accepts(one):
                    return True
        return False

    def expected_wait(self, capability: str) -> float:
        """Milliseconds until one more task would be done there."""
        service = self._service.get(capability, UNKNOWN_MS)
        return expected_wait(self._outstanding + self.handed, max(1, self._slots), service)

    def settle(self, fresh: bool = True) -> None:
        """Recompute the load. ``fresh``: by a report that has just come."""
        if fresh:
            self.handed = 0
        self._room = self._slots = self._outstanding = 0
        sums: dict[str, tuple[float, int]] = {}
        for beat in self.beats.values():
            if beat.state != "ready":
                continue
            taken = beat.running + beat.queued
            self._slots += beat.slots
            self._outstanding += taken
            self._room += max(0, beat.window - taken)
            for capability, ms in beat.service_ms.items():
                total, count = sums.get(capability, (0.0, 0))
                sums[capability] = (total + ms, count + 1)
        self._service = {name: total / count for name, (total, count) in sums.items()}


class Upward(Place):
    """The hub, as the coordinators of a site see it: who is there is not known here."""

    def __init__(self, site: str) -> None:
        """``site``: this side's name."""
        super().__init__(HUB)
        self._site = site

    @property
    def spill(self) -> Spill:
        return self.policy.up

    @property
    def accepts(self) -> tuple[str, ...]:
        return (self._site,)

    @property
    def room(self) -> int:
        return MANY

    @property
    def reach(self) -> int:
        return super().reach if self.connected else 0

    def may_do(self, pool: Pool) -> bool:
        """Perhaps."""
        return True

    def settle(self, fresh: bool = True) -> None:
        """Its load is not known here."""


def passed(origin: str) -> tuple[str, ...]:
    """The sides that a task has come from, by its header."""
    return tuple(one for one in origin.split(",") if one)


def sort(pool: Pool, places: Iterable[Place]) -> None:
    """Tell ``pool`` who beyond a link may do its tasks."""
    pool.beyond = tuple(one for one in places if one.may_do(pool))
    pool.reach = max((one.reach for one in pool.beyond), default=0)
