"""How far the fleet runs what it should, by its heartbeats. For those who watch, not for routing.

Who drifts, since when and why is told by ``bus.client.drift``, which asks the agents.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from bus.background import Background
from bus.client import config
from bus.config.changes import Change
from bus.config.followed import Followed
from bus.config.layers import INSTANCE, Layers
from bus.connection import Bus
from bus.errors import BusError
from bus.transport import Inbound
from coordinator.entry import AgentEntry
from coordinator.view import FleetView

log = logging.getLogger("fleetbus.coordinator")

PAUSE: Final = 1.0
"""Seconds before the bucket is read again that could not be."""


STATES: Final = ("in-sync", "overridden", "rejected", "behind", "silent")
"""How an agent may stand, as far as heartbeats tell. They do not say what was right earlier, so
``behind`` may be ``unknown`` to ``bus.config.drift``."""


@dataclass(slots=True)
class Counts:
    """The fleet at one moment."""

    agents: Counter[str] = field(default_factory=Counter)
    """How many there are of each of ``STATES``."""
    versions: dict[str, Counter[str]] = field(default_factory=dict)
    """By capability, how many agents have each version."""

    @property
    def parity(self) -> float:
        """Share of the agents that have the configuration that they should; 1 for no agents."""
        right = self.agents["in-sync"] + self.agents["overridden"]
        return right / total if (total := self.agents.total()) else 1.0


class Parity:
    """Follows the layers on the bus, and compares."""

    def __init__(self, bus: Bus, view: FleetView) -> None:
        self.known = False
        """The bucket has been read."""
        self._bus = bus
        self._view = view
        self._followed = Followed()
        self._layers: Layers | None = Layers()
        """What is followed, put together; None until somebody asks."""
        self._background = Background(log, "reading the configuration")
        self._stale = asyncio.Event()
        self._heard: list[Change] | None = None
        """What came while the bucket was read."""

    @property
    def layers(self) -> Layers:
        """What is in force."""
        if self._layers is None:
            self._layers = self._followed.layers
        return self._layers

    async def start(self) -> None:
        """Listen for changes, and begin to read what there is."""
        for key in config.EVERYTHING:
            await self._bus.listen(self._bus.subjects.config(key), self._on_change)
        self._bus.reconnected.append(self._stale.set)
        self._stale.set()
        self._background.spawn(self._follow())

    async def stop(self) -> None:
        """Follow no more."""
        self._bus.reconnected.remove(self._stale.set)
        await self._background.cancel()

    def count(self) -> Counts:
        """Compare what all agents said last with what they should have."""
        counts = Counts()
        right: dict[tuple[int, int, str], str] = {}
        named = any(
            term.key == "agent"
            for stored in self.layers.stored.values()
            for term in stored.selector.terms
        )
        for entry in self._view:
            counts.agents[self._state(entry, right, named)] += 1
            for capability, version in entry.said.versions if entry.said else ():
                counts.versions.setdefault(capability, Counter())[version] += 1
        return counts

    # the inside

    def _state(self, entry: AgentEntry, right: dict[tuple[int, int, str], str], named: bool) -> str:
        said, card = entry.said, entry.card
        if said is None:
            return "silent"
        if said.rejected:
            return "rejected"
        if named or INSTANCE + card.agent in self.layers.stored:
            wanted = self.layers.of(card.agent, card.site, card.labels, card.capabilities).hash
        else:
            # What is spelled alike is one object in the view, so most agents are one lookup.
            key = (id(card.labels), id(card.capabilities), card.site)
            wanted = right.get(key, "")
            if not wanted:
                found = self.layers.of(card.agent, card.site, card.labels, card.capabilities)
                wanted = right[key] = found.hash
        if said.config != wanted:
            return "behind"
        return "overridden" if said.overridden else "in-sync"

    def _on_change(self, message: Inbound) -> None:
        change = config.read(self._bus, message)
        if self._followed.contradicts(change):
            self._stale.set()  # the bucket was made anew
        if self._heard is not None:
            self._heard.append(change)
        self._followed.take(change)
        self._layers = None

    async def _follow(self) -> None:
        """Read the bucket at the start and whenever something may have been missed."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            heard = self._heard = []
            try:
                followed = (await config.current(self._bus)).followed
            except (BusError, TimeoutError) as problem:
                log.warning("the configuration was not read, trying again: %s", problem)
                self._stale.set()
                await asyncio.sleep(PAUSE)
                continue
            finally:
                self._heard = None
            for change in heard:
                followed.take(change)
            self._followed, self._layers = followed, None
            self.known = True
