"""An agent while it runs: one connection and what is wired to it."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import socket
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

import msgspec

from agent_runtime import built_in, micro
from agent_runtime.commands import Commands, Verb
from agent_runtime.configured import Configured
from agent_runtime.delivery import Delivery
from agent_runtime.executor import Executor
from agent_runtime.held import Held, Stage
from agent_runtime.intake import Intake
from agent_runtime.load import Load
from agent_runtime.presence import Presence
from bus import topology
from bus.client.calls import Calls
from bus.client.tasks import Tasks
from bus.connection import Bus
from bus.errors import BusError, CapabilityError, FleetError, MessageTooBig
from bus.payloads import Payloads
from bus.settings import BusSettings
from bus.subjects import Subjects
from bus.telemetry import Hook
from bus.version import VERSION
from bus.wire.card import Card

if TYPE_CHECKING:
    from agent_runtime.agent import Agent
    from agent_runtime.capability import Offer
    from bus.client.handle import TaskHandle
    from bus.client.options import TaskOptions

log = logging.getLogger("fleetbus.agent")


class Runtime:
    """One run of an agent. Made by ``Agent.connect``; entering it joins the fleet."""

    BUILT_IN: ClassVar = built_in.NAMES

    def __init__(self, agent: Agent[Any], settings: BusSettings, hook: Hook | None = None) -> None:
        self.agent = agent
        self.incarnation = os.urandom(6).hex()
        # The server's disconnect event carries this name: it is how a loss is recognised, so no
        # setting may change it.
        name = Subjects.connection_name("agent", agent.id, self.incarnation)
        self.bus = Bus(msgspec.structs.replace(settings, name=name), hook)
        self.stopping = asyncio.Event()
        """Set when the agent has been asked to stop, by a command or another process."""
        self.failure: FleetError | None = None
        self.load = Load(agent.slots)
        self.offers: dict[str, Offer] = dict(agent.offers)
        self.started_ms = time.time_ns() // 1_000_000
        self._verbs: dict[str, Verb] = {**agent.verbs, **built_in.verbs(self)}
        self._stack = AsyncExitStack()
        self._subscribed: dict[str, list[Any]] = {}
        self._client = f"{agent.id[:50]}-{self.incarnation}"
        """What handlers' own tasks and calls name as their caller."""
        self._tasks: Tasks | None = None
        self._first_submit = asyncio.Lock()
        self._calls = Calls(self.bus, self._client)
        self._left = False

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.bus)
            await topology.check(self.bus)
            if self.agent.lifespan is not None:
                await stack.enter_async_context(self.agent.lifespan())
            self.configured = Configured(self)
            stack.push_async_callback(self.configured.stop)
            await self._start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.shutdown(self.agent.grace if kind is None else 0.0)
        finally:
            await self._stack.aclose()

    # lifecycle

    async def _start(self) -> None:
        bus = self.bus
        self.delivery = Delivery(bus, self.agent.id, self._on_refused, self._release)
        self.intake = Intake(bus, self.incarnation, self.load, self.offers, self._poke)
        self.executor = Executor(
            self.agent.id,
            self.load,
            self.delivery,
            Payloads(bus),
            self,
            self._poke,
            self._release,
            self.agent.declared.redacted,
        )
        self.intake.executor = self.executor
        self.presence = Presence(bus, self.load, self.intake, self._card(), self._on_usurped)
        self.commands = Commands(
            bus, lambda: self.presence.card, self._verbs, self.agent.declared.redacted
        )
        subjects = bus.subjects
        # Before we listen there ourselves, and would answer too.
        await self.presence.check_twin()
        # Callbacks run in here: what tasks use is ready before the first one comes.
        await self.configured.start()
        # Ready means subscribed, then flushed, then announced.
        await bus.listen(subjects.dispatch(self.agent.id), self.intake.on_dispatch)
        for subject in (
            subjects.command_all,
            subjects.command_site(self.agent.site),
            subjects.command_agent(self.agent.id),
        ):
            await bus.listen(subject, self.commands.on_command)
        for name in self.offers:
            await self._subscribe(name)
        await micro.announce(bus, self.presence.card)
        await bus.flush()
        await self.presence.join()
        self.configured.tell()

    async def shutdown(self, grace: float) -> None:
        """Leave the fleet: stop intake, let what runs end within ``grace`` seconds, hand back
        the rest, leave the registry. The second call does nothing."""
        if self._left:
            return
        self._left = True
        self.intake.drain()
        self.presence.poke()
        self.executor.hand_back_queue()
        runners = [one.runner for one in self._running() if one.runner is not None]
        if runners and grace > 0:
            log.info("%s: waiting up to %g s for %d tasks", self.agent.id, grace, len(runners))
            await asyncio.wait(runners, timeout=grace)
        await self.commands.stop()
        await self.configured.stop()
        await self.executor.stop(self._running())
        try:
            async with asyncio.timeout(max(grace, 2.0)):
                await self.delivery.drained()
        except TimeoutError:
            log.warning(
                "%s: %d results were not stored in time; their tasks will run again elsewhere",
                self.agent.id,
                self.delivery.unstored,
            )
        await self.delivery.stop()
        if self._tasks is not None:
            await self._tasks.stop()
        await self.presence.leave()

    async def add(self, one: Offer) -> None:
        """Offer another capability from now on.

        Raises:
            CapabilityError: the agent has one of this name.
            BusError: it could not be announced.
        """
        if one.name in self.offers:
            raise CapabilityError(f"agent {self.agent.id} offers {one.name!r} already")
        self.offers[one.name] = one
        await self._subscribe(one.name)
        await self.bus.flush()
        self.configured.reconsider()
        await self.presence.announce(self._card())

    async def remove(self, capability: str) -> None:
        """Stop offering a capability. Tasks that are held already are finished.

        Raises:
            CapabilityError: the agent does not offer it.
        """
        if capability not in self.offers:
            raise CapabilityError(f"agent {self.agent.id} does not offer {capability!r}")
        del self.offers[capability]
        self.configured.reconsider()
        await self.presence.announce(self._card())
        for subscription in self._subscribed.pop(capability, []):
            await self.bus.unlisten(subscription)

    # what handlers may ask for (the Services protocol)

    def publish_progress(self, held: Held, progress: bytes) -> None:
        """Send progress; while disconnected, what does not fit the buffer is dropped."""
        if held.stage is not Stage.RUNNING:
            return
        try:
            self.bus.send(self.bus.subjects.progress(held.id), progress)
        except MessageTooBig as problem:
            log.warning("progress of task %s was not sent: %s", held.id, problem)
        except BusError as problem:
            log.debug("progress of task %s was not sent: %s", held.id, problem)

    async def submit(
        self, capability: str, value: Any, **options: Unpack[TaskOptions]
    ) -> TaskHandle:
        async with self._first_submit:
            # Handlers run side by side: none may submit before the results are listened for.
            if self._tasks is None:
                tasks = Tasks(self.bus, self._client)
                await tasks.start()
                self._tasks = tasks
        return await self._tasks.submit(capability, value, **options)

    async def call(
        self, capability: str, value: Any, timeout: float, **options: Unpack[TaskOptions]
    ) -> Any:
        return await self._calls.call(capability, value, timeout=timeout, **options)

    # the inside

    def _card(self) -> Card:
        return Card(
            agent=self.agent.id,
            incarnation=self.incarnation,
            site=self.agent.site,
            labels=self.agent.labels,
            slots=self.agent.slots,
            capabilities=tuple(one.advert() for one in self.offers.values()),
            commands=tuple(sorted(self._verbs)),
            host=socket.gethostname(),
            pid=os.getpid(),
            started_ms=self.started_ms,
            runtime=f"fleetbus/{VERSION} python/{platform.python_version()}",
        )

    async def _subscribe(self, capability: str) -> None:
        subjects = self.bus.subjects
        self._subscribed[capability] = [
            await self.bus.listen(subjects.cancels(capability), self.intake.on_cancel),
            await self.bus.listen(
                subjects.command_capability(capability), self.commands.on_command
            ),
        ]

    def _running(self) -> list[Held]:
        return [held for held in self.intake.held.values() if held.stage is Stage.RUNNING]

    def _release(self, held: Held) -> None:
        self.intake.release(held)

    def _poke(self) -> None:
        self.presence.poke()

    def _on_refused(self) -> None:
        self.load.refused_results += 1

    def _on_usurped(self, by: str) -> None:
        self.failure = FleetError(f"agent {self.agent.id} was taken over by {by}; stopping")
        log.error("%s", self.failure)
        self.stopping.set()
