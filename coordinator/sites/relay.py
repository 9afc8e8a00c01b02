"""Makes a site's agents visible at the hub: registry entries without a lease, and heartbeats."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from bus import codec, store
from bus.client import registry
from bus.connection import Bus
from bus.errors import BusError, MessageTooBig
from bus.wire.card import Card
from bus.wire.heartbeat import Heartbeat

log = logging.getLogger("fleetbus.sites")


class Relay:
    """One site's agents in the hub's registry.

    Args:
        here: true of an agent's id that an agent at the hub has.
        elsewhere: true of one that an agent of another site has, which comes first.
        revision: of the registry entry of a relayed agent; 0 for none.
    """

    def __init__(
        self,
        bus: Bus,
        site: str,
        here: Callable[[str], bool],
        elsewhere: Callable[[str], bool],
        revision: Callable[[str], int],
    ) -> None:
        self.doubles: set[str] = set()
        """Agents that are not shown because somebody else has their id."""
        self.news: dict[str, None] = {}
        """Agents whose entries are to be looked at."""
        self.writing = False
        self._bus = bus
        self._site = site
        self._here = here
        self._elsewhere = elsewhere
        self._revision = revision

    def sort(self, agents: Iterable[str]) -> None:
        """Notice ids that somebody at the hub has taken, and those that are free again."""
        for agent in agents:
            double = agent in self.doubles
            if self._here(agent) != double and not (double and self._elsewhere(agent)):
                self.news[agent] = None

    async def write(self, cards: Mapping[str, Card]) -> None:
        """Bring the registry up to ``cards`` for all of ``news``.

        Raises:
            BusError: as for ``store.publish``; what was not written is news again.
        """
        self.writing = True
        news, self.news = self.news, {}
        try:
            for agent in news:
                card = cards.get(agent)
                if card is None:
                    await self._remove(agent)
                else:
                    await self._put(card)
        except BusError:
            self.news = {**news, **self.news}
            raise
        finally:
            self.writing = False

    def beat(self, beats: Iterable[Heartbeat], next_in: float) -> None:
        """Say again what agents have said, so that tools at the hub hear it. ``next_in``:
        seconds until it is said again at the latest."""
        bus = self._bus
        now = time.time_ns() // 1_000_000
        for beat in beats:
            if beat.agent in self.doubles:
                continue
            # Numbered by the clock: whichever coordinator says it, it is newer than the last.
            said = msgspec.structs.replace(beat, seq=now, next_in=next_in, interval=next_in / 2)
            try:
                bus.send(bus.subjects.heartbeat(beat.site, beat.agent), codec.encode(said))
            except BusError as problem:
                log.debug("heartbeats of site %s: %s", self._site, problem)
                return

    # the inside

    async def _put(self, card: Card) -> None:
        agent = card.agent
        if self._here(agent) or self._elsewhere(agent):
            if agent not in self.doubles:
                self.doubles.add(agent)
                log.warning(
                    "agent %s of site %s is not shown here: another agent has its id; "
                    "give one of them another",
                    agent,
                    self._site,
                )
            return
        self.doubles.discard(agent)
        entry = msgspec.structs.replace(card, relay=self._site)
        try:
            key = self._bus.subjects.registry_keys + agent
            await store.publish(self._bus, key, codec.encode(entry))
        except MessageTooBig as problem:
            log.warning("agent %s of site %s is not shown here: %s", agent, self._site, problem)

    async def _remove(self, agent: str) -> None:
        """Delete its entry, if that is still the site's."""
        self.doubles.discard(agent)
        await registry.remove(self._bus, agent, self._revision(agent))
