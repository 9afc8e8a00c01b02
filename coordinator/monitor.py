"""Watches the fleet: who joins, who is late, who is lost.

Three ways lead to "lost", the fastest first: the server says that a connection closed, a
heartbeat is late, or the registry lease runs out. The first two are checked with a probe.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from bus import codec, store
from bus.background import Background
from bus.client import brief, records, registry
from bus.connection import Bus
from bus.errors import BusError, DecodeError
from bus.subjects import DISCONNECTS
from bus.telemetry import AgentSeen
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.heartbeat import Heartbeat
from coordinator.dispatcher import Dispatcher
from coordinator.entry import AgentEntry
from coordinator.liveness import judge, patience
from coordinator.probes import Probes
from coordinator.rota import Rota
from coordinator.settings import CoordinatorSettings
from coordinator.turns import Turns
from coordinator.view import FleetView

log = logging.getLogger("fleetbus.coordinator")

TICK: Final = 0.25
"""Seconds between looks at the clock."""

STALL: Final = 1.0
"""Seconds that a look may come late before it is we who were away, and not the agents."""

STRANGERS: Final = 10_000
"""Heartbeats kept of agents whose card has not been read yet."""

FETCHES: Final = 64
"""Cards that were missed and are asked for at the same time."""

ANNOUNCEMENTS: Final = 64
"""Losses that are stored at the same time."""

BREATH: Final = 256
"""Entries taken in before others have their turn: a few milliseconds."""

REREAD: Final = 1.0
"""Seconds before a registry that could not be read is read again."""


class _Client(msgspec.Struct):
    name: str = ""


class _Disconnect(msgspec.Struct):
    """What we read of the server's disconnect event."""

    client: _Client
    reason: str = ""


class Monitor:
    """Keeps the view true."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        view: FleetView,
        dispatcher: Dispatcher,
        settings: CoordinatorSettings,
        on_agent: Callable[[AgentEntry], None],
        on_room: Callable[[], None],
        calm: float,
        interval: Callable[[], float],
    ) -> None:
        """``on_agent`` is called with each agent that is new or has another card, ``on_room``
        when the fleet's room has changed. ``calm``: seconds after a reconnect in which silence
        means nothing."""
        self.lost = 0
        self.disconnects = 0
        """Disconnect events seen; 0 for long tells that the server does not export them."""
        self._bus = bus
        self._me = me
        self._view = view
        self._dispatcher = dispatcher
        self._settings = settings
        self._on_agent = on_agent
        self._on_room = on_room
        self._calm = calm
        self._interval = interval
        self._background = Background(log, "watching the fleet")
        self._fetches = Turns(self._background, FETCHES)
        self._announcements = Turns(self._background, ANNOUNCEMENTS)
        self._probes = Probes(
            bus, me, settings, self._background, self._is_current, self._on_alive, self._lose
        )
        self._rota: Rota[AgentEntry] = Rota(TICK, time.monotonic())
        self._asked: set[str] = set()
        """Agents whose cards were asked for in this second."""
        self._reading = 0
        self._early: dict[str, Heartbeat] = {}
        """What was heard, while the registry is read, of agents whose turn has not come."""
        self._gone: dict[str, int] = {}
        """Who has left meanwhile: what is read of them was stored before."""
        self.relayed: dict[str, int] = {}
        """Agents that are reached through the link of a site, with the revisions of their
        entries: their site's coordinators look after them."""

    async def start(self) -> None:
        """Subscribe, then read the registry: nothing that changes in between is missed."""
        subjects = self._bus.subjects
        await self._bus.listen(subjects.adverts, self._on_advert)
        await self._bus.listen(subjects.heartbeats, self._on_heartbeat)
        await self._bus.listen(DISCONNECTS, self._on_disconnect)
        await self._bus.flush()
        await self.read_registry()
        self._bus.reconnected.append(self._on_reconnect)
        self._background.spawn(self._watch())

    async def stop(self) -> None:
        """Watch no more."""
        self._bus.reconnected.remove(self._on_reconnect)
        self._probes.stop()
        self._fetches.close()
        self._announcements.close()
        await self._background.cancel()

    async def read_registry(self) -> None:
        """Take in all registry entries, and drop agents that have none."""
        prefix = len(self._bus.subjects.registry_keys)
        before = set(self._view.agents)
        self._reading += 1
        try:
            taken = 0
            async for message in registry.entries(self._bus):
                agent = h.find(message.block, "Nats-Subject")[prefix:]
                revision = store.sequence(message)
                before.discard(agent)
                try:
                    if revision > self._gone.get(agent, 0):
                        self._take(agent, message, revision)
                except DecodeError as problem:
                    self._bus.drop(message.subject, problem)
                taken += 1
                if taken % BREATH == 0:
                    await asyncio.sleep(0)
        finally:
            self._reading -= 1
            early: dict[str, Heartbeat] = {}
            if not self._reading:  # another reading may need them yet
                early, self._early = self._early, {}
                self._gone = {}
        for agent in before:
            if agent in self._view.agents:
                self._drop(self._view.agents[agent], "left")
        for beat in early.values():
            self._hear(beat)
        self._on_room()

    def suspect(self, entry: AgentEntry) -> None:
        """Nobody listened where this agent should: find out."""
        self._probes.soon(entry, "deaf", self._settings.grace)

    # what arrives

    def _on_advert(self, message: Inbound) -> None:
        agent = message.subject.rsplit(".", 1)[1]
        self._take(agent, message, store.sequence(message))

    def _take(self, agent: str, message: Inbound, revision: int) -> None:
        """A registry entry, live or from a scan."""
        entry = self._view.agents.get(agent)
        if registry.is_card(message):
            card = brief.decode(message.data)
            if card.agent != agent:
                raise DecodeError(f"card of {agent}", f"names agent {card.agent!r}")
            if card.relay:
                self.relayed[agent] = revision
                if entry is not None and revision > entry.revision:
                    self._drop(entry, "left")
                return
            if self.relayed:
                self.relayed.pop(agent, None)
            known = entry is not None and entry.incarnation == card.incarnation
            if entry is not None and not known:
                if revision < entry.revision:
                    return
                # It was restarted: what its predecessor held is nobody's now.
                self._dispatcher.take_back(entry)
            same = entry is not None and entry.card == card
            entry = self._view.put(card, revision)
            if not known:
                # Else one that dies before it is heard of would never be late.
                entry.next_in = self._interval()
                self._rota.put(entry, entry.last_seen + patience(entry.next_in))
                self._bus.hook.on_event(AgentSeen(agent, "joined"))
                log.info("agent %s joined at %s", agent, card.site)
            if not same:
                self._dispatcher.room_came(entry)
                self._on_agent(entry)
            return
        if self._reading:
            self._gone[agent] = revision
        if self.relayed:
            self.relayed.pop(agent, None)
        if entry is not None and revision > entry.revision:
            if message.headers.get("Nats-Marker-Reason") == "MaxAge":
                self._lose(entry, "its lease ran out")
            elif message.headers.get(registry.REASON) == "lost":
                self._lose(entry, "its entry was deleted: others found it lost", announce=False)
            else:
                self._drop(entry, "left")

    def _on_heartbeat(self, message: Inbound) -> None:
        if self.relayed and message.subject.rsplit(".", 1)[1] in self.relayed:
            return
        beat = codec.decode(Heartbeat, message.data, "heartbeat")
        site, agent = message.subject.rsplit(".", 2)[1:]
        if beat.agent != agent or beat.site != site:
            raise DecodeError(
                "heartbeat", f"of {beat.agent!r} at {beat.site!r} on another's subject"
            )
        self._hear(beat)

    def _hear(self, beat: Heartbeat) -> None:
        entry = self._view.agents.get(beat.agent)
        if entry is None or entry.incarnation != beat.incarnation:
            if beat.next_in > 0:
                self._on_stranger(beat)
            return
        standing, room = entry.standing, entry.room
        self._view.beat(entry, beat)
        if beat.next_in <= 0 and beat.state == "stopped":
            self._drop(entry, "left")
            return
        if entry.next_in > 0:
            self._rota.put(entry, entry.last_seen + patience(entry.next_in))
        if standing != entry.standing:
            self._bus.hook.on_event(AgentSeen(entry.id, entry.standing))
        if entry.room > room:
            self._dispatcher.room_came(entry)
            self._on_room()

    def _on_stranger(self, beat: Heartbeat) -> None:
        """Heard of an agent whose card was missed, or is still to be read."""
        if self._reading:
            if len(self._early) < STRANGERS:
                self._early[beat.agent] = beat
        elif beat.agent not in self._asked and len(self._asked) < STRANGERS:
            # An agent without an entry renews it by itself; asking on would be a storm.
            self._asked.add(beat.agent)
            self._fetches.take(partial(self._fetch, beat))

    async def _fetch(self, beat: Heartbeat) -> None:
        subjects = self._bus.subjects
        message = await store.last(
            self._bus, subjects.registry_stream, subjects.registry_keys + beat.agent
        )
        if message is None:
            return
        self._take(beat.agent, message, store.sequence(message))
        entry = self._view.agents.get(beat.agent)
        if entry is not None and entry.incarnation == beat.incarnation:
            self._hear(beat)

    def _on_disconnect(self, message: Inbound) -> None:
        self.disconnects += 1
        event = codec.decode(_Disconnect, message.data, "disconnect event")
        kind, _, rest = event.client.name.partition(":")
        agent, _, incarnation = rest.partition(":")
        entry = self._view.agents.get(agent)
        if kind == "agent" and entry is not None and entry.incarnation == incarnation:
            log.info("agent %s disconnected: %s", agent, event.reason)
            self._probes.soon(entry, "disconnected", self._settings.grace)

    def _on_reconnect(self) -> None:
        # Agents reconnect when we do, each after its own jitter: silence means nothing yet.
        calm = time.monotonic() + self._calm
        self._probes.calm_until = calm
        for entry in self._view:
            entry.last_seen = calm
        self._background.spawn(self._reread())

    async def _reread(self) -> None:
        generation = self._bus.generation
        while generation == self._bus.generation:
            try:
                await self.read_registry()
            except (BusError, TimeoutError) as problem:
                log.warning("the registry was not read, trying again: %s", problem)
                await asyncio.sleep(REREAD)
            else:
                return

    # who is late

    async def _watch(self) -> None:
        expected = time.monotonic()
        ticks = 0
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            expected += TICK
            if now - expected > STALL:
                for entry in self._view:
                    entry.last_seen += now - expected
            expected = now
            ticks += 1
            if ticks % 4 == 0:
                self._asked.clear()
            if self._bus.connected:
                for entry in self._rota.take(now):
                    self._look_at(entry, now)

    def _look_at(self, entry: AgentEntry, now: float) -> None:
        """The moment has come from which this agent is late, if it was not heard of since."""
        if not self._is_current(entry):
            return
        if judge(now - entry.last_seen, entry.next_in) == "alive":
            if entry.next_in > 0:
                self._rota.put(entry, entry.last_seen + patience(entry.next_in))
            return
        self._rota.put(entry, now)
        if entry.id not in self._probes:
            if entry.standing != "suspect":
                self._mark_suspect(entry)
            self._probes.soon(entry, "late")

    def _mark_suspect(self, entry: AgentEntry) -> None:
        entry.standing = "suspect"
        entry.settle()
        self._bus.hook.on_event(AgentSeen(entry.id, "suspect"))
        log.info("agent %s is suspect", entry.id)

    def _is_current(self, entry: AgentEntry) -> bool:
        return self._view.agents.get(entry.id) is entry

    def _on_alive(self, entry: AgentEntry) -> None:
        if entry.standing == "suspect":
            entry.standing = "ready"
            entry.settle()
            self._dispatcher.room_came(entry)
            self._on_room()

    # who is gone

    def _lose(self, entry: AgentEntry, why: str, announce: bool = True) -> None:
        returned = self._drop(entry, "lost")
        self.lost += 1
        log.warning(
            "agent %s is lost (%s); of its last %d tasks, those it held are given out again",
            entry.id,
            why,
            returned,
        )
        if announce:
            self._announcements.take(partial(self._announce_loss, entry, why))

    def _drop(self, entry: AgentEntry, state: str) -> int:
        self._view.remove(entry)
        if state == "lost":
            returned = self._dispatcher.take_back(entry)
        else:
            returned = 0
            self._dispatcher.let_go(entry)
        self._bus.hook.on_event(AgentSeen(entry.id, state, returned))
        self._on_room()
        return returned

    async def _announce_loss(self, entry: AgentEntry, why: str) -> None:
        """Each coordinator says it; the broker keeps one event and takes one deletion."""
        await records.event(
            self._bus,
            "lost",
            entry.id,
            by=self._me,
            data={"why": why},
            unique=f"lost:{entry.id}:{entry.incarnation}",
        )
        await registry.remove(self._bus, entry.id, entry.revision, "lost")
