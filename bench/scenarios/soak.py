"""A constant rate for a long time, with faults: does anything grow, get lost, run twice?

The whole takes ten minutes at scale 1: ``--scale 60`` for a night. What the server keeps is
bounded to a minute, so that it is full before the measuring begins.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec

from bench.harness.errors import BenchError
from bench.harness.faults import cut_connections, hushed
from bench.harness.figures import at_most
from bench.harness.latency import Latencies
from bench.harness.notes import Follower
from bench.harness.processes import Child, anonymous, rss, spawn
from bench.harness.scenario import Percentiles, Scenario
from bench.harness.servers import server
from bench.harness.session import Session
from bench.harness.trend import slope
from bench.sides import noting, product, steady
from bus.server import NatsServer
from bus.topology import TopologySettings

MINUTE: Final = TopologySettings(result_hours=1 / 60, dedup_seconds=30.0)
"""What the server keeps."""
SLOTS: Final = 16
WARM_UP: Final = 1 / 3
"""Of the time: caches and heaps find their size, and the stores fill up."""
GROWTH: Final = 10.0
"""MB in a million tasks that count as none: ten bytes a task, less than the smallest entry that
could be forgotten in a dict."""
SERVER_GROWTH: Final = 100.0
"""The same of the server, whose garbage collector lets its memory swing by tens of MB (runs of
ten minutes gave 4 and 70): a hundred bytes a task, less than the subject of a forgotten result."""


@dataclass(frozen=True)
class Pace:
    """How often what happens. Seconds, but for the rate."""

    length: float
    rate: float
    kill: float
    cut: float
    big: float
    sample: float
    topology: TopologySettings


FULL: Final = Pace(600.0, 1000.0, kill=20.0, cut=31.0, big=10.0, sample=2.0, topology=MINUTE)
QUICK: Final = Pace(
    3.0,
    200.0,
    kill=1.1,
    cut=1.7,
    big=0.5,
    sample=0.1,
    topology=msgspec.structs.replace(MINUTE, ack_wait=1.0),
)


class Sample(NamedTuple):
    """One look at one process."""

    at: float
    """Seconds since the start."""
    anonymous: float
    """MB of its own data."""
    resident: float
    """MB with its program."""


@dataclass
class Soak:
    """The fleet under load."""

    pace: Pace
    server: NatsServer
    file: Path
    coordinator: Child
    survivor: Child
    client: Child
    spare: Child
    """The one that is killed and replaced."""
    kills: int = 0
    cuts: int = 0
    seconds: float = 0.0
    """For which the client submitted."""
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    """Of each process."""

    def __post_init__(self) -> None:
        self.follower = Follower(self.file)

    async def stop(self) -> None:
        """End the agent that was started last."""
        await self.spare.stop()

    async def run(self, progress: Callable[[float], None]) -> steady.Tally:
        """The load with its faults, for as long as the pace says."""
        begun = time.monotonic()
        faults = [
            asyncio.create_task(self._every(self.pace.kill, self._replace)),
            asyncio.create_task(self._every(self.pace.cut, self._cut)),
        ]
        try:
            while (gone := time.monotonic() - begun) < self.pace.length:
                self._sample(gone)
                self.follower.read()
                progress(gone)
                await asyncio.sleep(self.pace.sample)
                for fault in faults:
                    if fault.done():
                        fault.result()
        finally:
            for fault in faults:
                fault.cancel()
            await asyncio.gather(*faults, return_exceptions=True)
        await self.client.tell("stop")
        self.seconds = time.monotonic() - begun
        line = await self.client.line(steady.PATIENCE + 30)
        self.follower.read()
        return msgspec.json.decode(line, type=steady.Tally)

    def _sample(self, gone: float) -> None:
        if self.server.pid is None:
            raise BenchError("the server has ended")
        for name, pid in (
            ("coordinator", self.coordinator.pid),
            ("agent", self.survivor.pid),
            ("client", self.client.pid),
            ("nats-server", self.server.pid),
        ):
            self.samples[name].append(Sample(gone, anonymous(pid), rss(pid)))

    async def _every(self, seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await do()

    async def _replace(self) -> None:
        """SIGKILL one agent; another one takes its place."""
        self.kills += 1
        self.follower.killed.add(f"spare{self.kills - 1}")
        await self.spare.kill()
        self.spare = await _agent(self.server.url, f"spare{self.kills}", self.file)

    async def _cut(self) -> None:
        self.cuts += 1
        await cut_connections(self.server.system_url)


async def run(session: Session) -> None:
    """Once, however many rounds there are to be."""
    plan = session.plan
    pace = QUICK if plan.quick else replace(FULL, length=plan.seconds(FULL.length, 0))
    with hushed():
        async with _soak(pace) as soak:
            tally = await soak.run(
                lambda gone: session.step(f"{gone:,.0f} of {pace.length:,.0f} s")
            )
    _record(session, soak, tally)


def _record(session: Session, soak: Soak, tally: steady.Tally) -> None:
    pace = soak.pace
    for name, samples in soak.samples.items():
        warm = [one for one in samples if one.at >= pace.length * WARM_UP]
        growth = slope([(one.at, one.anonymous) for one in warm]) / pace.rate * 1e6
        bound = SERVER_GROWTH if name == "nats-server" else GROWTH
        session.record(
            "memory growth after warm-up",
            growth,
            "MB/million tasks",
            side=name,
            better="lower",
            target=at_most(bound),
        )
        for when, one in (("after warm-up", warm[0]), ("at the end", warm[-1])):
            for what, megabytes in (("own", one.anonymous), ("resident", one.resident)):
                session.record(f"{what} memory {when}", megabytes, "MB", side=name, better="lower")
    follower = soak.follower
    for metric, count in (
        ("lost", tally.accepted - tally.completed),
        ("refused submissions", tally.refused),
        ("duplicated", follower.duplicated),
    ):
        session.record(metric, count, "tasks", better="lower", target=at_most(0))
    for metric, count in (
        ("completed", tally.completed),
        ("completed, 2 MiB", tally.big),
        ("run again after a kill", follower.again),
        ("refused results", follower.refused),
    ):
        session.record(metric, count, "tasks")
    session.record("agents killed", soak.kills, "times")
    session.record("connections cut", soak.cuts, "times")
    session.record("rate", tally.completed / soak.seconds, "tasks/s", better="higher")
    session.record("submitted late by", tally.late, "s", better="lower")
    session.latency(Latencies.decode(tally.latencies), open_loop=True)
    session.note(
        f"{pace.rate:g} tasks/s of 128 bytes for {pace.length:g} s; every {pace.kill:g} s an agent "
        f"is killed and replaced, every {pace.cut:g} s the server closes all connections at once, "
        f"every {pace.big:g} s a task carries 2 MiB both ways. Growth is that of a process's own "
        "(anonymous) memory, the median slope between all pairs of samples (Theil and Sen) after "
        f"the first third. Up to {GROWTH:g} MB in a "
        "million tasks count as none: ten bytes a task, less than the smallest thing that could "
        f"be forgotten; for the server {SERVER_GROWTH:g}, because its garbage collector swings."
    )
    session.note(
        "'Duplicated' are handlers that were started although an agent that lives had the task. "
        "What a killed agent had is run again, as it must be."
    )
    if tally.problem:
        session.note(f"The first problem of the client: {tally.problem}")


@asynccontextmanager
async def _soak(pace: Pace) -> AsyncIterator[Soak]:
    kept = {
        f"FLEETBUS_TOPOLOGY_{name.upper()}": str(getattr(pace.topology, name))
        for name in ("result_hours", "dedup_seconds", "ack_wait")
    }
    async with AsyncExitStack() as stack:
        file = Path(stack.enter_context(TemporaryDirectory()), "notes")
        made = await stack.enter_async_context(server(settings=pace.topology))
        coordinator = await spawn(*product.coordinator(made.url), environment=kept)
        stack.push_async_callback(coordinator.stop)
        survivor = await _agent(made.url, "survivor", file)
        stack.push_async_callback(survivor.stop)
        spare = await _agent(made.url, "spare0", file)
        stack.push_async_callback(spare.stop)
        client = await spawn(*steady.command(made.url, pace.rate, pace.big), stdin=True)
        stack.push_async_callback(client.stop)
        soak = Soak(pace, made, file, coordinator, survivor, client, spare)
        stack.push_async_callback(soak.stop)
        yield soak


async def _agent(url: str, name: str, file: Path) -> Child:
    return await spawn(*noting.command(url, name, SLOTS, str(file)))


SCENARIO: Final = Scenario(
    name="soak",
    summary="A constant rate for ten minutes, with faults: whether memory grows, whether a task "
    "is lost or run twice without need.",
    run=run,
    seconds=620,
    quick_seconds=5,
    plots=(
        Percentiles(name="soak-latency", title="Latency of tasks in the soak, faults included"),
    ),
    by_default=False,
)
