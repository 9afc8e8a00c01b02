"""What ``top`` knows about a fleet, gathered between two frames."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from nats.aio.subscription import Subscription

from bus import Bus, codec, store
from bus.client.queue import Lane, lanes
from bus.credentials import shown
from bus.errors import DecodeError, Disconnected
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.event import Event
from bus.wire.heartbeat import CoordinatorBeat, Heartbeat
from fleetbus.roster import Roster, Row
from fleetbus.top.snapshot import Snapshot, percentiles

SAMPLE: Final = 200
"""Results a frame that the server sends us; a busy fleet has far more."""

KEPT: Final = 1000
"""Samples that latency is computed from."""

EARLIER: Final = 10
"""Events that are shown from before the start."""

APART: Final = 0.25
"""Seconds between two points of a rate."""

ANNOUNCED: Final = 1.3
"""Seconds to wait for a coordinator: they announce themselves every second."""

SILENT: Final = 2.5
"""Promised times after which a coordinator that is not heard is left out."""


@dataclass(slots=True)
class Meter:
    """Counts what one agent has done since some seconds ago."""

    incarnation: str
    seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=32))

    def take(self, at: float, done: int) -> None:
        """A heartbeat heard ``at`` (monotonic) says that ``done`` tasks are done."""
        if len(self.seen) > 1 and at - self.seen[-2][0] < APART:
            # A busy agent reports 20 times a second: the last one stands for those just before.
            self.seen.pop()
        self.seen.append((at, done))

    def rate(self, window: float = 5.0) -> float | None:
        """Tasks a second over the last ``window`` seconds that were heard."""
        if len(self.seen) < 2:
            return None
        at, done = self.seen[-1]
        inside = [one for one in self.seen if at - window <= one[0] < at]
        first, before = inside[0] if inside else self.seen[-2]
        return (done - before) / max(at - first, 1e-3)


class Model:
    """Follows a fleet while it is entered. ``look`` asks, ``snapshot`` tells.

    Args:
        bus: an open connection.
        select: only agents that match.

    Raises:
        InvalidSelector: the selector cannot be parsed.
    """

    def __init__(self, bus: Bus, select: str = "") -> None:
        self._bus = bus
        self._roster = Roster(bus, select)
        self._meters: dict[str, Meter] = {}
        self._coordinators: dict[str, tuple[CoordinatorBeat, float]] = {}
        self._announced = asyncio.Event()
        self._events: deque[Event] = deque(maxlen=50)
        self._queued: deque[float] = deque(maxlen=KEPT)
        self._ran: deque[float] = deque(maxlen=KEPT)
        self._lanes: list[Lane] = []
        self._dead = 0
        self._sampling: Subscription | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Subscribe and read the registry.

        Raises:
            TopologyMissing: this fleet does not exist here.
        """
        bus, subjects = self._bus, self._bus.subjects
        async with AsyncExitStack() as stack:
            for subject, handler in (
                (subjects.coordinators, self._on_coordinator),
                (subjects.events, self._on_event),
                (subjects.heartbeats, self._on_heartbeat),
            ):
                stack.push_async_callback(bus.unlisten, await bus.listen(subject, handler))
            await stack.enter_async_context(self._roster)
            stack.push_async_callback(self._stop_sampling)
            await self._sample()
            await self._read_events()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def heard(self) -> None:
        """Wait about a heartbeat interval, until every agent and a coordinator has been heard."""
        await asyncio.gather(self._roster.heard(), self._announcement())

    async def look(self) -> None:
        """Ask the broker for the counts that are not announced.

        A connection that is down is no error: the frame says so, and shows what was known.
        """
        bus = self._bus
        if not bus.connected:
            return
        try:
            self._lanes, info, _ = await asyncio.gather(
                lanes(bus),
                bus.api(f"STREAM.INFO.{bus.subjects.dead_stream}"),
                self._sample(),
            )
        except (TimeoutError, Disconnected):
            return
        self._dead = info["state"]["messages"]
        here = {row.card.agent for row in self._roster.rows()}
        for agent in self._meters.keys() - here:
            del self._meters[agent]

    def snapshot(self) -> Snapshot:
        """What is known now."""
        now = time.monotonic()
        rows = sorted(self._roster.rows(), key=_load, reverse=True)
        here = {row.card.agent: row.card.incarnation for row in rows}
        rates = {
            agent: rate
            for agent, meter in self._meters.items()
            if here.get(agent) == meter.incarnation and (rate := meter.rate()) is not None
        }
        self._coordinators = {
            name: (beat, heard)
            for name, (beat, heard) in self._coordinators.items()
            if now - heard < beat.next_in * SILENT
        }
        alive = [beat for beat, _ in self._coordinators.values()]
        return Snapshot(
            fleet=self._bus.subjects.fleet,
            url=_server(self._bus),
            at=time.time(),
            rows=rows,
            rates=rates,
            lanes=[one for one in self._lanes if one.waiting or one.held],
            dead=self._dead,
            coordinators=sorted(alive, key=lambda beat: beat.coordinator),
            events=list(self._events),
            queued=percentiles(list(self._queued)),
            ran=percentiles(list(self._ran)),
            connected=self._bus.connected,
            hub=self._roster.hub,
            sites=self._roster.sites,
        )

    # the inside

    async def _announcement(self) -> None:
        with contextlib.suppress(TimeoutError):  # there is none: the frame says so
            async with asyncio.timeout(ANNOUNCED):
                await self._announced.wait()

    async def _read_events(self) -> None:
        """What happened before: the stream has it, and live ones may have come meanwhile."""
        bus, stream = self._bus, self._bus.subjects.events_stream
        last = (await bus.api(f"STREAM.INFO.{stream}"))["state"]["last_seq"]
        newest: list[Event] = []
        async for message in store.scan(
            bus, stream, bus.subjects.events, start=max(1, last - EARLIER + 1)
        ):
            try:
                newest.append(codec.decode(Event, message.data, "event"))
            except DecodeError as problem:
                bus.drop(message.subject, problem)
        live = [one for one in self._events if one not in newest]
        self._events.clear()
        self._events.extend([*live, *reversed(newest)])

    async def _sample(self) -> None:
        """Listen to the next few results only: the server itself ends the subscription."""
        await self._stop_sampling()
        self._sampling = await self._bus.listen(self._bus.subjects.dones, self._on_done)
        await self._sampling.unsubscribe(limit=SAMPLE)

    async def _stop_sampling(self) -> None:
        if self._sampling is not None:
            await self._bus.unlisten(self._sampling)
            self._sampling = None

    def _on_done(self, message: Inbound) -> None:
        fields = message.headers
        if h.RUN_MS in fields:
            self._ran.append(float(fields[h.RUN_MS]))
            self._queued.append(float(fields.get(h.QUEUED_MS, "0")))

    def _on_heartbeat(self, message: Inbound) -> None:
        beat = codec.decode(Heartbeat, message.data, "heartbeat")
        meter = self._meters.get(beat.agent)
        if meter is None or meter.incarnation != beat.incarnation:
            meter = self._meters[beat.agent] = Meter(beat.incarnation)
        meter.take(time.monotonic(), beat.done)

    def _on_coordinator(self, message: Inbound) -> None:
        beat = codec.decode(CoordinatorBeat, message.data, "coordinator's announcement")
        if beat.leaving:
            self._coordinators.pop(beat.coordinator, None)
        else:
            self._coordinators[beat.coordinator] = (beat, time.monotonic())
            self._announced.set()

    def _on_event(self, message: Inbound) -> None:
        self._events.appendleft(codec.decode(Event, message.data, "event"))


def _load(row: Row) -> tuple[float, str]:
    load = row.load
    if load is None:
        return (-1.0, row.card.agent)
    return ((load.running + load.queued) / max(1, load.slots), row.card.agent)


def _server(bus: Bus) -> str:
    url = bus.nc.connected_url
    return f"{url.hostname}:{url.port}" if url is not None else shown(bus.settings.url)
