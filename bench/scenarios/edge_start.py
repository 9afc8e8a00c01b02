"""How long an edge agent takes from the start of its process to its first heartbeat."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.edge import interpreters
from bench.harness.errors import BenchError
from bench.harness.figures import at_most
from bench.harness.processes import spawn
from bench.harness.scenario import Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session
from bench.sides import product
from bus import Bus, connect
from bus.client.watch import Watch

AGENT, ASYNCIO, BARE = "edge agent", "Python with asyncio", "bare Python"
KINDS: Final = (AGENT, ASYNCIO, BARE)
LIMIT: Final = 250.0
"""Milliseconds from the start of the process to the first heartbeat."""
STARTS: Final = 5
"""Of each kind in a round; the quickest counts: what others do on this machine only delays."""


async def run(session: Session) -> None:
    """Each kind several times a round."""
    plan = session.plan
    with tempfile.TemporaryDirectory() as directory:
        async with server() as made, connect(made.url, FLEET) as bus:
            # Compiled modules are kept, in a place of their own, as in ``start``.
            cache = {**product.BYTECODE, "PYTHONPYCACHEPREFIX": f"{directory}/cache"}
            environment = {**interpreters.environment(made.url), **cache}
            stage = Stage(bus, Path(directory), environment)
            for kind in KINDS:
                await stage.start(kind)
            for kind in session.interleaved(KINDS):
                took = [await stage.start(kind) for _ in range(plan.count(STARTS, 1))]
                ready = min(one[0] for one in took)
                session.record("ready after", ready, "ms", side=kind, better="lower")
                if kind == AGENT:
                    session.record(
                        "first heartbeat after",
                        min(one[1] for one in took),
                        "ms",
                        better="lower",
                        target=at_most(LIMIT),
                    )
    with_, without = (session.figure("ready after", kind) for kind in (ASYNCIO, BARE))
    if with_ is not None and without is not None:
        for one, other in zip(with_.values, without.values, strict=True):
            session.record("importing asyncio takes", one - other, "ms", side=ASYNCIO)
    session.note(
        f"The quickest of {STARTS} starts in each round. Modules are compiled beforehand. Each "
        "start includes about 20 ms in which a small Python sees to it that the process ends with "
        "its parent; the heartbeat is timed when it arrives at a subscriber."
    )


class Stage:
    """Where processes are started."""

    def __init__(self, bus: Bus, folder: Path, environment: dict[str, str]) -> None:
        self._bus = bus
        self._folder = folder
        self._environment = environment

    async def start(self, kind: str) -> tuple[float, float]:
        """Milliseconds until it is ready, and until its first heartbeat (0 for no agent)."""
        if kind != AGENT:
            command = interpreters.ASYNCIO if kind == ASYNCIO else interpreters.BARE
            child = await spawn(*command, environment=self._environment)
            await child.stop()
            return 1000 * child.took, 0.0
        name = f"start-{time.time_ns()}"
        agent = interpreters.agent(self._folder, name)
        async with Watch(self._bus, f"hb.*.{name}") as watch:
            heard = asyncio.create_task(_first(watch))
            begun = time.perf_counter()
            child = await spawn(*agent, environment=self._environment)
            try:
                async with asyncio.timeout(10):
                    return 1000 * child.took, 1000 * (await heard - begun)
            finally:
                await child.stop()


async def _first(watch: Watch) -> float:
    async for _ in watch:
        return time.perf_counter()
    raise BenchError("the watch ended")


SCENARIO: Final = Scenario(
    name="edge-start",
    summary="From the start of an edge agent's process on CPython to its first heartbeat, beside "
    "what Python takes, with asyncio and without.",
    run=run,
    seconds=20,
    quick_seconds=4,
)
