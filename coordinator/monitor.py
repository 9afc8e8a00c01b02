"""Watches the fleet: who joins, who is late, who is lost.

Three ways lead to "lost", the fastest first: the server says that a connection closed, a
heartbeat is late, or the registry lease runs out. The first two are checked with a probe.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from bus import codec, store
from bus.background import Background
from bus.connection import ApiError, Bus
from bus.errors import DecodeError, Disconnected
from bus.subjects import DISCONNECTS
from bus.telemetry import AgentSeen
from bus.transport import Inbound
from bus.wire import card as cards
from bus.wire import headers as h
from bus.wire.event import Event
from bus.wire.heartbeat import Heartbeat
from coordinator.dispatcher import Dispatcher
from coordinator.liveness import Answer, after_probe, judge
from coordinator.settings import CoordinatorSettings
from coordinator.view import AgentEntry, FleetView

log = logging.getLogger("fleetbus.coordinator")

TICK: Final = 0.25
"""Seconds between looks at the clock."""

STALL: Final = 1.0
"""Seconds that a look may come late before it is we who were away, and not the agents."""

MARKER_TTL: Final = "60s"


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
        on_change: Callable[[], None],
    ) -> None:
        """``on_change`` is called when agents or their room have changed."""
        self.lost = 0
        self.disconnects = 0
        """Disconnect events seen; 0 for long tells that the server does not export them."""
        self._bus = bus
        self._me = me
        self._view = view
        self._dispatcher = dispatcher
        self._settings = settings
        self._on_change = on_change
        self._probing: set[str] = set()
        self._fetching: set[str] = set()
        self._background = Background(log, "watching the fleet")
        self._calm_until = 0.0
        """Until then nobody is lost for being silent: we have just (re)connected."""

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
        await self._background.cancel()

    async def read_registry(self) -> None:
        """Take in all registry entries, and drop agents that have none."""
        subjects = self._bus.subjects
        before = set(self._view.agents)
        async for message in store.scan(
            self._bus, subjects.registry_stream, f"{subjects.registry_keys}>"
        ):
            agent = message.headers["Nats-Subject"][len(subjects.registry_keys) :]
            before.discard(agent)
            try:
                self._take(agent, message, int(message.headers["Nats-Sequence"]))
            except DecodeError as problem:
                self._bus.drop(message.subject, problem)
        for agent in before:
            if agent in self._view.agents:
                self._drop(self._view.agents[agent], "left")
        self._on_change()

    def suspect(self, entry: AgentEntry) -> None:
        """Nobody listened where this agent should: find out."""
        self._probe_soon(entry, self._settings.grace)

    # what arrives

    def _on_advert(self, message: Inbound) -> None:
        agent = message.subject.rsplit(".", 1)[1]
        sequence = message.headers.get("Nats-Sequence", "")
        if not sequence.isdigit():
            raise DecodeError(
                "advert", "has no Nats-Sequence header: not republished by the broker"
            )
        self._take(agent, message, int(sequence))
        self._on_change()

    def _take(self, agent: str, message: Inbound, revision: int) -> None:
        """A registry entry, live or from a scan."""
        entry = self._view.agents.get(agent)
        if message.data and "KV-Operation" not in message.headers:
            card = cards.decode(message.data)
            if card.agent != agent:
                raise DecodeError(f"card of {agent}", f"names agent {card.agent!r}")
            if entry is not None and entry.incarnation != card.incarnation:
                if revision < entry.revision:
                    return
                # It was restarted: what its predecessor held is nobody's now.
                self._dispatcher.take_back(entry)
            known = entry is not None and entry.incarnation == card.incarnation
            entry = self._view.put(card, revision)
            if not known:
                self._bus.hook.on_event(AgentSeen(agent, "joined"))
                log.info("agent %s joined at %s", agent, card.site)
            self._dispatcher.room_came(entry)
        elif entry is not None and revision > entry.revision:
            if message.headers.get("Nats-Marker-Reason") == "MaxAge":
                self._lose(entry, "its lease ran out")
            elif message.headers.get("Fleet-Reason") == "lost":
                self._lose(entry, "another coordinator found it lost", announce=False)
            else:
                self._drop(entry, "left")

    def _on_heartbeat(self, message: Inbound) -> None:
        beat = codec.decode(Heartbeat, message.data, "heartbeat")
        site, agent = message.subject.rsplit(".", 2)[1:]
        if beat.agent != agent or beat.site != site:
            raise DecodeError(
                "heartbeat", f"of {beat.agent!r} at {beat.site!r} on another's subject"
            )
        entry = self._view.agents.get(agent)
        if entry is None or entry.incarnation != beat.incarnation:
            if beat.next_in > 0:
                self._fetch(agent)
            return
        standing = entry.standing
        self._view.beat(entry, beat)
        if beat.next_in <= 0 and beat.state == "stopped":
            self._drop(entry, "left")
            return
        if standing != entry.standing:
            self._bus.hook.on_event(AgentSeen(agent, entry.standing))
        if entry.room > 0:
            self._dispatcher.room_came(entry)
        self._on_change()

    def _on_disconnect(self, message: Inbound) -> None:
        self.disconnects += 1
        event = codec.decode(_Disconnect, message.data, "disconnect event")
        kind, _, rest = event.client.name.partition(":")
        agent, _, incarnation = rest.partition(":")
        entry = self._view.agents.get(agent)
        if kind == "agent" and entry is not None and entry.incarnation == incarnation:
            log.info("agent %s disconnected: %s", agent, event.reason)
            self._probe_soon(entry, self._settings.grace, disconnected=True)

    def _on_reconnect(self) -> None:
        # Agents reconnect when we do, each after its own jitter: silence means nothing yet.
        self._calm_until = time.monotonic() + self._bus.settings.reconnect_max + 1.0
        for entry in self._view:
            entry.last_seen = self._calm_until
        self._background.spawn(self.read_registry())

    # who is late

    async def _watch(self) -> None:
        expected = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            expected += TICK
            if now - expected > STALL:
                for entry in self._view:
                    entry.last_seen += now - expected
            expected = now
            if not self._bus.connected:
                continue
            for entry in list(self._view):
                verdict = judge(now - entry.last_seen, entry.next_in)
                if verdict == "alive" or entry.id in self._probing:
                    continue
                if entry.standing != "suspect":
                    self._mark_suspect(entry)
                self._probe_soon(entry, 0.0)

    def _mark_suspect(self, entry: AgentEntry) -> None:
        entry.standing = "suspect"
        entry.settle()
        self._bus.hook.on_event(AgentSeen(entry.id, "suspect"))
        log.info("agent %s is suspect", entry.id)

    def _probe_soon(self, entry: AgentEntry, delay: float, disconnected: bool = False) -> None:
        if entry.id not in self._probing:
            self._probing.add(entry.id)
            self._background.spawn(self._probe(entry, delay, disconnected))

    async def _probe(self, entry: AgentEntry, delay: float, disconnected: bool) -> None:
        silent = 0
        try:
            await asyncio.sleep(max(delay, self._calm_until - time.monotonic()))
            while self._view.agents.get(entry.id) is entry:
                asked = time.monotonic()
                answer = await self._ask(entry)
                if self._view.agents.get(entry.id) is not entry:
                    return  # it left, or was replaced, meanwhile
                if answer == "silence":
                    if entry.last_seen > asked:
                        return  # it was heard of meanwhile
                    silent += 1
                verdict = after_probe(answer, silent, disconnected)
                if verdict == "lost":
                    self._lose(entry, f"a probe was answered by {answer}")
                    return
                if verdict == "alive":
                    entry.last_seen = max(entry.last_seen, time.monotonic())
                    if entry.standing == "suspect":
                        entry.standing = "ready"
                        entry.settle()
                        self._dispatcher.room_came(entry)
                        self._on_change()
                    return
        except Disconnected as problem:
            log.debug("probe of %s: %s", entry.id, problem)
        finally:
            self._probing.discard(entry.id)

    async def _ask(self, entry: AgentEntry) -> Answer:
        try:
            message = await self._bus.request(
                self._bus.subjects.dispatch(entry.id),
                block=h.encode([(h.PROBE, self._me)]),
                timeout=self._settings.probe_timeout,
            )
        except TimeoutError:
            return "silence"
        if message.status == "503":
            return "nobody"
        same = message.headers.get(h.INCARNATION) == entry.incarnation
        return "same" if same else "other"

    # who is gone

    def _lose(self, entry: AgentEntry, why: str, announce: bool = True) -> None:
        returned = self._drop(entry, "lost")
        self.lost += 1
        log.warning(
            "agent %s is lost (%s); what it held of %d tasks handed back", entry.id, why, returned
        )
        if announce:
            self._background.spawn(self._announce_loss(entry, why))

    def _drop(self, entry: AgentEntry, state: str) -> int:
        self._view.remove(entry)
        if state == "lost":
            returned = self._dispatcher.take_back(entry)
        else:
            returned = 0
            self._dispatcher.let_go(entry)
        self._bus.hook.on_event(AgentSeen(entry.id, state, returned))
        self._on_change()
        return returned

    async def _announce_loss(self, entry: AgentEntry, why: str) -> None:
        """Each coordinator says it; the broker keeps one event and takes one deletion."""
        subjects = self._bus.subjects
        event = Event("lost", entry.id, time.time_ns() // 1_000_000, self._me, {"why": why})
        await store.publish(
            self._bus,
            subjects.event("lost", entry.id),
            codec.encode(event),
            h.encode([(h.MSG_ID, f"lost:{entry.id}:{entry.incarnation}")]),
        )
        block = h.encode(
            [
                ("KV-Operation", "DEL"),
                ("Fleet-Reason", "lost"),
                (h.TTL, MARKER_TTL),
                (h.EXPECT_LAST_SUBJECT_SEQ, str(entry.revision)),
            ]
        )
        try:
            await store.publish(self._bus, subjects.registry_keys + entry.id, b"", block)
        except ApiError as error:
            if error.code != ApiError.WRONG_LAST_SEQUENCE:
                raise

    def _fetch(self, agent: str) -> None:
        """Heard of an agent whose card was missed."""
        if agent not in self._fetching:
            self._fetching.add(agent)
            self._background.spawn(self._fetch_card(agent))

    async def _fetch_card(self, agent: str) -> None:
        subjects = self._bus.subjects
        try:
            message = await store.last(
                self._bus, subjects.registry_stream, subjects.registry_keys + agent
            )
            if message is not None:
                self._take(agent, message, int(message.headers["Nats-Sequence"]))
                self._on_change()
            # An agent without an entry renews it by itself; asking on would be a storm.
            await asyncio.sleep(1.0)
        finally:
            self._fetching.discard(agent)
