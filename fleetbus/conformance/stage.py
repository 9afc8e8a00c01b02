"""One agent process in a fleet of its own, and all that a check needs to deal with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from bus import codec, connect, topology
from bus.connection import Bus
from bus.errors import DecodeError, FleetError
from bus.subjects import Subjects
from bus.topology import MIB, TopologySettings
from bus.wire import card as cards
from bus.wire import headers as h
from bus.wire.card import Card
from bus.wire.event import Event
from bus.wire.heartbeat import FleetPolicy, Heartbeat
from fleetbus.conformance import contract
from fleetbus.conformance.check import Failed, NotStarted, Scene, Skipped
from fleetbus.conformance.coordinating import Coordinating
from fleetbus.conformance.link import Link
from fleetbus.conformance.operating import Operating
from fleetbus.conformance.process import Process
from fleetbus.conformance.record import Record, Seen

START: Final = 20.0
"""Seconds in which the agent must join."""

SMALL: Final = TopologySettings(
    task_bytes=16 * MIB,
    result_bytes=16 * MIB,
    event_bytes=4 * MIB,
    dead_bytes=4 * MIB,
    audit_bytes=MIB,
    registry_bytes=4 * MIB,
    config_bytes=8 * MIB,
    payload_bytes=16 * MIB,
)
"""A fleet that costs a server next to nothing."""


class Stage:
    """A fleet with one agent under test, with nobody else in it but the suite."""

    def __init__(
        self,
        scene: Scene,
        url: str,
        command: Sequence[str],
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """``timeout``: seconds in which what the agent owes must come."""
        self.scene = scene
        self.timeout = timeout
        self.agent = f"{scene.name}-{os.urandom(3).hex()}"
        self.site = contract.SITE
        self.policy = scene.policy
        self.since = 0
        """When the agent's process was started, in the record."""
        self._command = command
        self._on_line = on_line
        self._fleet = f"conformance-{os.urandom(6).hex()}"
        self.bus: Bus = connect(url, self._fleet, name="client:conformance")
        self.link = Link(url)
        self.record = Record(timeout)
        self.process: Process | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.bus)
            await topology.ensure(self.bus, SMALL)
            stack.push_async_callback(topology.remove, self.bus)
            await stack.enter_async_context(self.link)
            stack.push_async_callback(self._end)
            record, bus = self.record, self.bus
            for subject in (
                f"{self.subjects.root}.>",
                f"{self.subjects.registry_keys}>",
                # What an agent tells the broker of its tasks.
                "$JS.ACK.>",
            ):
                await bus.listen(subject, record.add)
            self.coordinator = Coordinating(bus, record, self.agent, self.policy.ack_wait)
            await self.coordinator.start()
            self.operator = Operating(bus, record, self.agent)
            await self.operator.start()
            await bus.flush()
            await self.operator.policy(self.policy)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def subjects(self) -> Subjects:
        return self.bus.subjects

    # the agent's process

    def spawn(self) -> Process:
        """Another process of the agent, with the same id; not started."""
        variables = {
            "FLEETBUS_URL": self.link.url,
            "FLEETBUS_FLEET": self._fleet,
            "FLEETBUS_AGENT": self.agent,
            "FLEETBUS_SITE": self.site,
        }
        return Process(self._command, variables, self._on_line)

    @property
    def running(self) -> Process:
        """The agent's process.

        Raises:
            Failed: it was not started.
        """
        if self.process is None:
            raise Failed("an agent that runs", "it was not started")
        return self.process

    async def start(self) -> Heartbeat:
        """Start the agent and wait until it has joined; its first heartbeat.

        Raises:
            NotStarted: it has not joined in time, or has ended.
        """
        self.since = self.record.mark()
        process = self.process = self.spawn()
        try:
            await process.start()
        except OSError as problem:
            raise NotStarted(f"cannot be run: {problem}") from None
        ready = asyncio.ensure_future(
            self.beat("its first heartbeat", since=self.since, timeout=START)
        )
        ended = asyncio.ensure_future(process.ended("its start", START + 1))
        try:
            await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and ready.exception() is None:
                return ready.result()
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
        what = f"ended with status {process.status}"
        if process.status is None:
            what = f"sent no heartbeat for agent {self.agent} within {START:g} s"
        raise NotStarted(what, process.output)

    async def restart(self) -> Heartbeat:
        """End the agent's process, whatever it does, and start it anew in the same fleet."""
        await self._end()
        return await self.start()

    async def _end(self) -> None:
        if self.process is not None:
            await self.process.kill()
            self.process = None

    async def tidy(self) -> bool:
        """After a check: end what the agent still holds. False if it is not as it was."""
        coordinator = self.coordinator
        if self.process is None or self.process.status is not None:
            return False
        held = [given for given in coordinator.given if not given.over]
        since = self.record.mark()
        for given in held:
            coordinator.cancel(given, "the check is over")
        coordinator.given.clear()
        try:
            if held:
                await self.beat("an idle agent", lambda b: not b.running and not b.queued, since)
            await self.bus.api(f"STREAM.PURGE.{self.subjects.tasks_stream}")
        except (Failed, FleetError):
            return False
        return self.process.status is None

    # what it says

    def read_beat(self, seen: Seen) -> Heartbeat:
        """Raises:
        Failed: it is no heartbeat.
        """
        try:
            return codec.decode(Heartbeat, seen.data)
        except DecodeError as problem:
            raise Failed("a Heartbeat", f"{problem}: {seen}") from None

    @property
    def heartbeats(self) -> str:
        """Where its heartbeats come."""
        return self.subjects.heartbeat(self.site, self.agent)

    @property
    def entry(self) -> str:
        """Its registry entry."""
        return f"{self.subjects.registry_keys}{self.agent}"

    async def beat(
        self,
        what: str = "a heartbeat",
        where: Callable[[Heartbeat], object] | None = None,
        since: int | None = None,
        timeout: float | None = None,
    ) -> Heartbeat:
        """The first heartbeat from ``since`` (by default from now) on that is so."""
        seen = await self.record.first(
            f"{what}, in a heartbeat",
            self.heartbeats,
            self.record.mark() if since is None else since,
            lambda one: where is None or bool(where(self.read_beat(one))),
            timeout,
        )
        return self.read_beat(seen)

    def beats(self, since: int = 0) -> list[Heartbeat]:
        """All heartbeats since then."""
        return [self.read_beat(one) for one in self.record.all(self.heartbeats, since)]

    @property
    def now(self) -> Heartbeat:
        """The last heartbeat."""
        return self.beats(self.since)[-1]

    async def registered(self, what: str, since: int, timeout: float | None = None) -> Seen:
        """The next write of its registry entry that is a card."""
        return await self.record.first(what, self.entry, since, lambda one: bool(one.data), timeout)

    async def card(self) -> Card:
        """What it registered with.

        Raises:
            Failed: it is no card.
        """
        seen = await self.registered("a registry entry", self.since)
        try:
            return cards.decode(seen.data)
        except FleetError as problem:
            raise Failed("a Card in the registry", str(problem)) from None

    async def taken(self) -> None:
        """Return when the agent has read all that was dispatched to it before."""
        probe = self.coordinator.raw(h.encode([(h.PROBE, "c-suite")]), b"")
        await self.record.first("an answer to a probe", probe.answers)

    async def event(self, kind: str, since: int) -> Event:
        """The next event of this kind about the agent."""
        seen = await self.record.first(
            f"an event {kind}", self.subjects.event(kind, self.agent), since
        )
        try:
            event = codec.decode(Event, seen.data)
        except DecodeError as problem:
            raise Failed("an Event", f"{problem}: {seen}") from None
        if (event.kind, event.subject_id) != (kind, self.agent):
            raise Failed(f"kind {kind} of {self.agent}", f"{event.kind} of {event.subject_id}")
        return event

    async def needs(self, capability: str) -> None:
        """Raises:
        Skipped: the agent does not offer this optional capability.
        """
        if capability not in {one.name for one in (await self.card()).capabilities}:
            raise Skipped(f"the agent does not offer {capability}")

    async def change_policy(self, policy: FleetPolicy) -> None:
        """Write another policy."""
        self.policy = policy
        await self.operator.policy(policy)
