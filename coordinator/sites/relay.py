"""Makes a site's agents visible at the hub: registry entries without a lease, and heartbeats."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

import msgspec

from bus import codec, store
from bus.connection import ApiError, Bus
from bus.errors import BusError
from bus.wire import headers as h
from bus.wire.card import Card
from bus.wire.heartbeat import Heartbeat

log = logging.getLogger("fleetbus.sites")

MARKER_TTL = "60s"


class Relay:
    """One site's agents in the hub's registry.

    Args:
        taken: true of an agent's id that an agent at the hub, or at another site, has.
        revision: of the registry entry of a relayed agent; 0 for none.
    """

    def __init__(
        self,
        bus: Bus,
        site: str,
        taken: Callable[[str], bool],
        revision: Callable[[str], int],
    ) -> None:
        self.doubles: set[str] = set()
        """Agents that are not shown because somebody else has their id."""
        self._bus = bus
        self._site = site
        self._taken = taken
        self._revision = revision

    async def put(self, cards: Iterable[Card]) -> None:
        """Write entries.

        Raises:
            BusError: as for ``store.publish``.
        """
        keys = self._bus.subjects.registry_keys
        for card in cards:
            if self._taken(card.agent):
                if card.agent not in self.doubles:
                    self.doubles.add(card.agent)
                    log.warning(
                        "agent %s of site %s is not shown here: another agent has its id; "
                        "give one of them another",
                        card.agent,
                        self._site,
                    )
                continue
            self.doubles.discard(card.agent)
            entry = msgspec.structs.replace(card, relay=self._site)
            await store.publish(self._bus, keys + card.agent, codec.encode(entry))

    async def remove(self, agents: Iterable[str]) -> None:
        """Delete entries, if they are still the site's.

        Raises:
            BusError: as for ``store.publish``.
        """
        for agent in agents:
            self.doubles.discard(agent)
            revision = self._revision(agent)
            if not revision:
                continue
            block = h.encode(
                [
                    ("KV-Operation", "DEL"),
                    (h.TTL, MARKER_TTL),
                    (h.EXPECT_LAST_SUBJECT_SEQ, str(revision)),
                ]
            )
            try:
                key = self._bus.subjects.registry_keys + agent
                await store.publish(self._bus, key, b"", block)
            except ApiError as error:
                if error.code != ApiError.WRONG_LAST_SEQUENCE:
                    raise

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
