"""What each kind of process costs: the time until it is ready, and its memory when idle."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.harness.errors import BenchError
from bench.harness.figures import Params, at_most
from bench.harness.processes import Child, rss, spawn
from bench.harness.scenario import Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session
from bench.sides import idle, product
from bus import Bus, connect
from bus.client.watch import Watch
from bus.server import NatsServer

AGENT, FLOOR = "agent", "bare nats-py"
KINDS: Final = (AGENT, "coordinator", "client", "CLI", "nats-server", FLOOR)


@dataclass(frozen=True)
class Seen:
    """One process, once."""

    ready: float
    """Seconds from its start."""
    megabytes: float
    """Resident."""
    heard: float | None = None
    """Seconds until an agent's first heartbeat arrived."""


@dataclass(frozen=True)
class Stage:
    """Where processes are started."""

    url: str
    bus: Bus
    """Listens for heartbeats."""
    directory: Path
    """For agent files."""
    environment: dict[str, str]
    """Of the processes."""
    idle: float
    """Seconds after which the memory is looked at."""

    async def measure(self, kind: str) -> Seen:
        """Start one process of ``kind``, look at it and stop it.

        Raises:
            BenchError: it could not be started.
        """
        match kind:
            case "agent":
                return await self._agent()
            case "coordinator":
                return await self._lasting(product.coordinator(self.url))
            case "client":
                return await self._lasting(idle.client(self.url))
            case "CLI":
                child = await self._spawn(idle.ended(*product.agents(self.url)))
                await child.stop()
                _, took, kib = child.said.split()
                return Seen(float(took), int(kib) / 1024)
            case "nats-server":
                return await self._server()
            case _:
                return await self._lasting(idle.bare(self.url))

    async def _agent(self) -> Seen:
        name = f"idle-{time.time_ns()}"
        file = self.directory / f"{name}.py"
        file.write_text(idle.AGENT.format(name=name))
        async with Watch(self.bus, f"hb.*.{name}") as watch:
            heard = asyncio.create_task(_first(watch))
            begun = time.perf_counter()
            seen = await self._lasting(product.agent(self.url, f"{file}:agent"))
            return Seen(seen.ready, seen.megabytes, await heard - begun)

    async def _lasting(self, command: tuple[str, ...]) -> Seen:
        child = await self._spawn(command)
        try:
            await asyncio.sleep(self.idle)  # on purpose: this is what is measured
            return Seen(child.took, child.rss())
        finally:
            await child.stop()

    async def _server(self) -> Seen:
        begun = time.perf_counter()
        async with NatsServer() as started:
            ready = time.perf_counter() - begun
            await asyncio.sleep(self.idle)  # as above
            if started.pid is None:
                raise BenchError("the server has ended")
            return Seen(ready, rss(started.pid))

    async def _spawn(self, command: tuple[str, ...]) -> Child:
        return await spawn(*command, environment=self.environment)


async def run(session: Session) -> None:
    """Each kind once a round, beside a bare connection of nats-py."""
    plan = session.plan
    with tempfile.TemporaryDirectory() as directory:
        async with server() as made, connect(made.url, FLEET) as bus:
            stage = Stage(made.url, bus, Path(directory), {}, plan.seconds(2.0, 0.1))
            if not plan.quick:
                # Compiled modules are kept, as those of an installed package are, and in a
                # place of their own: what earlier runs left, or an environment that wants none,
                # makes no difference.
                cache = {**product.BYTECODE, "PYTHONPYCACHEPREFIX": f"{directory}/cache"}
                stage = replace(stage, environment=cache)
                for kind in KINDS:
                    session.step(f"compiling the modules of {kind}")
                    await stage.measure(kind)
            for kind in session.interleaved(KINDS):
                _record(session, kind, await stage.measure(kind))
    params: Params = {}
    session.ratio("resident memory", AGENT, FLOOR, params=params)
    session.ratio("ready after", AGENT, FLOOR, params=params)
    session.note(
        "'Ready' is the line that a process prints once it is connected and can be used; of the "
        "CLI it is the end of 'fleetbus agents --json --listen 0', and its memory is the largest "
        "that it had. Modules are compiled beforehand. Each start includes about 20 ms in which "
        "a small Python sees to it that the process ends with its parent."
    )


def _record(session: Session, kind: str, seen: Seen) -> None:
    session.record("ready after", seen.ready, "s", side=kind, better="lower")
    if seen.heard is not None:
        session.record("first heartbeat after", seen.heard, "s", side=kind, better="lower")
    target = at_most(40) if kind == AGENT else None
    session.record(
        "resident memory", seen.megabytes, "MB", side=kind, better="lower", target=target
    )


async def _first(watch: Watch) -> float:
    async for _ in watch:
        return time.perf_counter()
    raise BenchError("the watch ended")


SCENARIO: Final = Scenario(
    name="start",
    summary="How long each kind of process takes from its start until it is ready, and its "
    "resident memory after two idle seconds, beside a bare connection of nats-py.",
    run=run,
    seconds=50,
    quick_seconds=4,
)
