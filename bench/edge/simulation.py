"""A simulation from its start to its judgement."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.edge import broker, outcome
from bench.edge.crew import Crew, crew, together
from bench.edge.load import Load
from bench.edge.outcome import Readings, Tasks
from bench.edge.plan import Plan
from bench.edge.profiles import profile
from bench.edge.tally import Report
from bench.harness.processes import cpu, spawn
from bench.harness.servers import FLEET, server
from bench.sides import product
from bus import Client, topology
from bus.topology import TopologySettings

BOOTS: Final = 100.0
"""Devices that are started a second."""
JOINED: Final = 0.9
"""Share of devices that must have joined before the load begins."""
LOOK: Final = 0.5
ACK_WAIT: Final = 10.0
"""Seconds, as usual, after which a task is given out again."""

Show = Callable[[str, float], None]
"""Told what is going on, and about how many seconds are left."""


@dataclass
class Outcome:
    """What a simulation has found."""

    plan: Plan
    report: Report
    tasks: Tasks
    readings: Readings
    refused: int = 0
    """Submissions that were not accepted, so that no task came of them."""
    problem: str = ""
    """The client's first."""
    again: int = 0
    """Tasks whose handler was started more than once."""
    twice: int = 0
    """Of these, within one boot of one device: it was done, and the acknowledgement got lost."""
    lost: int = 0
    """Readings that are missing although no power cut or full spool explains it."""
    kept: int = 0
    """Records still in a spool at the end."""
    leaked: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """With accidents and load."""
    settled: float = 0.0
    """After which nothing was left to be done, from the last accident on."""
    late: float = 0.0
    """Of timers in the devices' processes, at worst: more says that this machine was too slow."""
    cpu: float = 0.0
    """Seconds of processor time of the devices' processes."""
    alive: float = 0.0
    """Seconds from the first boot to the end."""

    @property
    def bytes_per_hour(self) -> float:
        """Of one device, both ways, without TCP and IP."""
        tally = self.report.tally
        return (tally.sent + tally.received) / max(1, self.plan.devices) * 3600 / self.alive

    @property
    def memory(self) -> float:
        """KB of one device with its simulated link."""
        return (self.report.rss - self.report.bare) * 1024 / max(1, self.plan.devices)

    @property
    def reconnects(self) -> int:
        """Connections beyond the first of each boot."""
        return self.report.tally.connections - self.report.tally.boots

    @property
    def faults(self) -> list[str]:
        """What must not be, one line each."""
        found = {
            "tasks without a terminal result": len(self.tasks.unfinished),
            "duplicate results": self.tasks.duplicates,
            "tasks expired before their deadline": self.tasks.early,
            "readings lost": self.lost,
            "readings doubled": self.readings.doubled,
            "readings out of order": self.readings.disordered,
            "readings with a wrong time": self.readings.misdated,
            "records stuck in spools": self.kept,
            "agents that gave way to themselves": self.report.tally.stopped,
            "devices that never came back": self.plan.devices - self.report.tally.joined,
            "tasks of the event loop left over": len(self.leaked),
        }
        said = [f"{count} {what}" for what, count in found.items() if count > 0]
        return said + [f"left over: {task}" for task in self.leaked[:3]]


async def simulate(plan: Plan, show: Show, url: str = "", fleet: str = FLEET) -> Outcome:
    """Run it, on a server and a coordinator of its own unless there is a ``url``.

    Raises:
        BenchError: there is no such profile, or a process ended.
        ConnectError, TopologyMissing: there is no such fleet at ``url``.
    """
    profile(plan.profile)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fleetbus-simulate-")))
        if not url:
            url, fleet = await stack.enter_async_context(_own(ACK_WAIT / plan.hurry))
        client = Client.connect(url, fleet, name=plan.run)
        await stack.enter_async_context(client)
        await topology.check(client.bus)
        made = await stack.enter_async_context(crew(url, fleet, plan, folder))
        return await Simulation(plan, client, made, show).run()


@asynccontextmanager
async def _own(ack_wait: float) -> AsyncIterator[tuple[str, str]]:
    settings = TopologySettings(ack_wait=ack_wait)
    async with server(settings=settings) as made:
        environment = {"FLEETBUS_TOPOLOGY_ACK_WAIT": str(ack_wait)}
        coordinator = await spawn(*product.coordinator(made.url), environment=environment)
        try:
            yield made.url, FLEET
        finally:
            await coordinator.stop()


class Simulation:
    """One run of a plan."""

    def __init__(self, plan: Plan, client: Client, made: Crew, show: Show) -> None:
        self._plan = plan
        self._client = client
        self._crew = made
        self._show = show
        self._load = Load(client, plan)
        self._ramp = plan.devices / BOOTS

    async def run(self) -> Outcome:
        """From the first boot to the judgement."""
        plan, made = self._plan, self._crew
        begun = time.monotonic()
        await made.boot(self._ramp)
        await self._until(
            "joining", self._ramp + plan.patience / 4, plan.seconds + 30, self._joined
        )
        self._load.start()
        started = time.monotonic()
        try:
            await self._until("accidents", plan.seconds, 30, None)
        finally:
            await self._load.stop()
        calmed = time.monotonic()
        await made.calm()
        await self._until("the rest of the tasks", plan.patience, 10, self._finished)
        await made.hush()
        left = max(plan.patience / 8, plan.patience - (time.monotonic() - calmed))
        await self._until("the rest of the readings", left, 5, self._settled)
        settled = time.monotonic() - calmed
        used = sum(cpu(child.pid) for child in made.children)
        alive = time.monotonic() - begun
        ended = await made.stop()
        report = together([one.report for one in ended])
        taken = {name: count for one in ended for name, count in one.taken.items()}
        stored = [one async for one in broker.readings(self._client.bus, plan.run)]
        readings = outcome.readings(taken, stored)
        runs: Counter[str] = Counter()
        for one in ended:
            runs.update(one.runs)
        tally = report.tally
        explained = tally.carried + tally.dropped + tally.spooled
        return Outcome(
            plan,
            report,
            outcome.tasks(
                self._load.tasks, await broker.results(self._client.bus, self._client.id)
            ),
            readings,
            refused=self._load.refused,
            problem=self._load.problem,
            again=len(runs),
            twice=sum(len(one.by_boot) for one in ended),
            lost=max(0, readings.missing - explained),
            kept=tally.spooled,
            leaked=[task for one in ended for task in one.leaked],
            seconds=calmed - started,
            settled=settled,
            late=made.late,
            cpu=used,
            alive=alive,
        )

    async def _until(
        self, what: str, seconds: float, after: float, met: Callable[[Report], object] | None
    ) -> None:
        """Show how it stands until ``met``, or for so long; ``after`` follows."""
        begun = time.monotonic()
        while (gone := time.monotonic() - begun) < seconds:
            report = await self._crew.report()
            tally = report.tally
            self._show(
                f"{what}: {tally.joined:,} of {self._plan.devices:,} joined, "
                f"{len(self._load.tasks):,} tasks, {tally.reboots:,} reboots, "
                f"{tally.connections:,} connections, {tally.spooled:,} kept",
                (seconds - gone if met is None else min(seconds - gone, 30)) + after,
            )
            if met is not None:
                answer = met(report)
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return
            await asyncio.sleep(min(LOOK, max(0.0, seconds - gone)))

    def _joined(self, report: Report) -> bool:
        return report.tally.joined >= JOINED * self._plan.devices

    def _settled(self, report: Report) -> bool:
        return report.tally.settled == self._plan.devices

    async def _finished(self, report: Report) -> bool:
        return len(await broker.results(self._client.bus, self._client.id)) >= len(self._load.tasks)
