"""One round of ``failover``: a fleet at work, one fault, and what became of every task."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from bench.harness import notes
from bench.harness.bare_server import bare_server
from bench.harness.errors import BenchError
from bench.harness.load import open_loop, steady
from bench.harness.processes import Child, spawn
from bench.harness.servers import FLEET
from bench.sides import noting, product
from bus import Client
from bus.server import NatsServer
from bus.testing import eventually, fleet
from bus.topology import TopologySettings

LONG: Final = 50
"""Tasks of ``NAP`` seconds that are in hand when the fault comes."""
NAP: Final = 0.5
SHORT: Final = 0.005
"""Seconds that each task of the constant load takes."""
RATE: Final = 300
"""Of those, a second."""
SLOTS: Final = 64
"""Of each of the two agents: either can take over everything."""
PATIENCE: Final = 40.0
"""Seconds until a task without a result is lost: several ack waits."""


@dataclass(frozen=True)
class Fault:
    """What is killed, and under which circumstances."""

    name: str
    victim: Literal["agent", "coordinator", "server"]
    coordinators: int = 1
    events: bool = True
    """The server exports its disconnect events."""
    load: bool = True
    """False: there is nothing but the long tasks."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Seen:
    """What became of the tasks. Times are of the machine's monotonic clock."""

    at: float
    """When the fault was made."""
    back: float
    """When what was killed was there again; ``at`` if it was left dead."""
    killed: tuple[str, ...]
    """Agents that were."""
    affected: frozenset[str]
    """Tasks that were accepted and unfinished at the fault."""
    begun: dict[str, float]
    """When each accepted task was submitted."""
    ended: dict[str, float]
    """When each completed task did."""
    failures: list[Exception]
    """Of submitting, or of tasks that were not completed."""
    entries: list[notes.Entry]

    @property
    def lost(self) -> int:
        """Accepted tasks that were not completed."""
        return len(self.begun) - len(self.ended)

    @property
    def slowest(self) -> float:
        """Seconds from submitting to the result."""
        return max(at - self.begun[task] for task, at in self.ended.items())


@dataclass
class Play:
    """The processes of one round, and its tasks."""

    fault: Fault
    url: str
    server: NatsServer | None
    client: Client
    file: Path
    environment: dict[str, str]
    """Of coordinators."""
    coordinators: list[Child] = field(default_factory=list)
    agents: dict[str, Child] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    long: set[str] = field(default_factory=set)
    ended: dict[str, float] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)

    async def start(self) -> None:
        """Coordinators, then two agents. Where an agent is to be killed, it gets everything:
        the other one takes nothing yet."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.fault.coordinators):
                group.create_task(self._coordinator(f"c{number}"))
            for name in ("a0", "a1"):
                group.create_task(self._agent(name))
        if self.fault.victim == "agent":
            await self._say("drain", "a1")

    async def stop(self) -> None:
        """End all that still runs."""
        await asyncio.gather(*(one.stop() for one in (*self.agents.values(), *self.coordinators)))

    async def perform(self, lead: float, rest: float) -> Seen:
        """``lead`` seconds of load, the fault, and ``rest`` seconds of load after it.

        Raises:
            BenchError: the long tasks had ended before the fault came.
        """
        async with asyncio.TaskGroup() as group:
            if self.fault.load:
                group.create_task(self._short(lead + rest))
            await asyncio.sleep(lead)  # the usual course of things
            for _ in range(LONG):
                group.create_task(self._task(NAP))
            await eventually(lambda: self._napping() == LONG, 10)
            if self.fault.victim == "agent":
                await self._say("resume", "a1")
            at = time.monotonic()
            affected = frozenset(self.begun.keys() - self.ended.keys())
            await self._kill()
            back = await self._restart()
        if len(affected & self.long) < LONG / 2:
            raise BenchError(f"{self.fault}: the long tasks ended before the fault came")
        return Seen(
            at,
            back or at,
            ("a0",) if self.fault.victim == "agent" else (),
            affected,
            self.begun,
            self.ended,
            self.failures,
            notes.read(self.file),
        )

    async def _kill(self) -> None:
        match self.fault.victim:
            case "agent":
                await self.agents["a0"].kill()
            case "coordinator":
                await self.coordinators[0].kill()
            case "server":
                await self._server().kill()

    async def _restart(self) -> float:
        """What nobody else stands in for is started again at once; returns when it was there."""
        if self.fault.victim == "server":
            await self._server().restart()
        elif self.fault.victim == "coordinator" and self.fault.coordinators == 1:
            await self._coordinator("again")
        else:
            return 0.0
        return time.monotonic()

    def _server(self) -> NatsServer:
        if self.server is None:
            raise BenchError("a server without our configuration cannot be restarted")
        return self.server

    async def _short(self, seconds: float) -> None:
        await open_loop(lambda: self._task(SHORT), steady(RATE, seconds))

    async def _task(self, seconds: float) -> None:
        """Submit one and follow it to its result."""
        begun = time.monotonic()
        try:
            handle = await self.client.submit("nap", {"seconds": seconds})
            self.begun[handle.id] = begun
            if seconds == NAP:
                self.long.add(handle.id)
            result = await handle.outcome(PATIENCE)
            if result.state != "completed":
                raise result.failure()
            self.ended[handle.id] = time.monotonic()
        except Exception as problem:  # a finding: it is counted, and the round goes on
            self.failures.append(problem)

    def _napping(self) -> int:
        return len(self.long & {entry.task for entry in notes.read(self.file)})

    async def _say(self, verb: str, agent: str) -> None:
        broadcast = self.client.broadcast(verb, select=f"agent={agent}")
        if [reply.state async for reply in broadcast] != ["ok"]:
            raise BenchError(f"agent {agent} did not obey {verb!r}")

    async def _coordinator(self, name: str) -> None:
        command = product.coordinator(self.url, name)
        self.coordinators.append(await spawn(*command, environment=self.environment))

    async def _agent(self, name: str) -> None:
        self.agents[name] = await spawn(*noting.command(self.url, name, SLOTS, str(self.file)))


@asynccontextmanager
async def play(fault: Fault, ack_wait: float | None = None) -> AsyncIterator[Play]:
    """A server, a fleet and its processes for one round.

    Args:
        ack_wait: seconds, instead of the default.
    """
    settings = TopologySettings(ack_wait=ack_wait) if ack_wait else TopologySettings()
    environment = {
        **product.BYTECODE,
        "FLEETBUS_TOPOLOGY_ACK_WAIT": str(settings.ack_wait),
    }
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        server = await stack.enter_async_context(NatsServer()) if fault.events else None
        url = server.url if server else await stack.enter_async_context(bare_server())
        await stack.enter_async_context(fleet(url, FLEET, settings))
        client = await stack.enter_async_context(Client.connect(url, FLEET))
        made = Play(fault, url, server, client, Path(directory, "notes"), environment)
        stack.push_async_callback(made.stop)
        await made.start()
        yield made
