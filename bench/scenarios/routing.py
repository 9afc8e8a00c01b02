"""Routing in a mixed fleet: ours against choosing blindly, and against the ideal queue.

Fast agents, slow ones and one that stalls; short tasks, medium ones and a few long ones. The
work is sleep, so that two cores can carry the fleet, and all sides have agents of their own and
run in the same seconds, with the same tasks at the same moments.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from bench.harness.errors import BenchError
from bench.harness.figures import Params, at_most
from bench.harness.latency import Latencies
from bench.harness.load import open_loop
from bench.harness.processes import Child, spawn
from bench.harness.scenario import Percentiles, Plot, Scenario
from bench.harness.servers import server
from bench.harness.session import Session
from bench.routing import blocked_loop, ideal, mixed_fleet, our_agents, rival_agents, virtual
from bench.routing.clients import GROUP, OURS, QUEUE, RANDOM, ROUND_ROBIN, SIDES, Submit, clients
from bench.routing.mix import QUICK, USUAL, Job, Mix
from bench.sides import ours, work_queue

IDEAL: Final = "ideal queue"
MODEL: Final = "ours, in virtual time"
"""Our policy without the machine."""
LOADS: Final = (50, 80, 95)
"""Per cent of what the fleet can do."""
HELD: Final = 80
"""The load for which there are targets."""
SECONDS: Final = 10.0
"""For which tasks arrive; a side that falls behind takes longer to finish them."""
LEAD: Final = 0.2
"""Seconds from the announcement of a run to its begin."""
LATE: Final = 100.0
"""Milliseconds by which the generator may be late before that is told."""
PATIENCE: Final = 10.0
"""Times the length of a run, and half a minute, after which the last task must have ended."""


async def run(session: Session) -> None:
    """All loads, on one server."""
    mix = QUICK if session.plan.quick else USUAL
    seconds = session.plan.seconds(SECONDS, 0.3)
    session.step("starting 40 agents")
    async with _fleet() as (submits, stalling):
        # Our router and the connections get to know the fleet.
        warm_up = session.plan.seconds(3.0, 0.2)
        await _measure(submits, mix.jobs(_rate(mix, 50), warm_up, 0), warm_up, 0, stalling)
        rounds: Counter[int] = Counter()
        for load in session.interleaved(LOADS):
            rounds[load] += 1
            # Other rounds draw other tasks; all sides of a round have the same.
            seed = session.plan.seed * 1000 + rounds[load]
            jobs = mix.jobs(_rate(mix, load), seconds, seed)
            late = 0.0
            runs = await _measure(submits, jobs, seconds, seed, stalling)
            for side, (took, makespan, behind) in runs.items():
                _record(session, mix, load, side, jobs, took, makespan)
                late = max(late, behind)
            fleet = ideal.servers(mixed_fleet.stalls(seconds, seed))
            for side, simulated in (
                (MODEL, virtual.simulate(jobs, fleet, seed)),
                (IDEAL, ideal.simulate(jobs, fleet)),
            ):
                _record(session, mix, load, side, jobs, simulated.took, simulated.makespan)
            session.record("began late", late * 1000, "ms", side="generator", params={"load": load})
    for load in LOADS:
        _compare(session, load)
    _explain(session)


def _rate(mix: Mix, load: int) -> float:
    """Tasks a second that are ``load`` per cent of what the fleet can do."""
    return mixed_fleet.capacity() / mix.mean * load / 100


async def _measure(
    submits: dict[str, Submit],
    jobs: Sequence[Job],
    seconds: float,
    seed: int,
    stalling: list[Child],
) -> dict[str, tuple[list[float], float, float]]:
    """All sides at once: seconds of each task in the order of arrival, seconds to the last
    end, and by how many seconds the generator was late at worst."""
    await blocked_loop.announce(stalling, time.monotonic() + LEAD, seconds, seed)
    await asyncio.sleep(LEAD)
    try:
        async with asyncio.timeout(30 + PATIENCE * seconds):
            found = await asyncio.gather(*(_side(submits[side], jobs) for side in SIDES))
    except TimeoutError as error:
        raise BenchError(
            f"{len(jobs)} tasks that came within {seconds:g} s were not done in "
            f"{30 + PATIENCE * seconds:g} s: the machine is too busy, or a side has stopped"
        ) from error
    return dict(zip(SIDES, found, strict=True))


async def _side(submit: Submit, jobs: Sequence[Job]) -> tuple[list[float], float, float]:
    begun = time.perf_counter()
    took = [0.0] * len(jobs)
    numbers = iter(range(len(jobs)))

    async def one() -> None:
        number = next(numbers)
        await submit(jobs[number].length)
        took[number] = time.perf_counter() - begun - jobs[number].at

    load = (await open_loop(one, iter([job.at for job in jobs]))).check()
    return took, load.seconds, load.late


def _record(
    session: Session,
    mix: Mix,
    load: int,
    side: str,
    jobs: Sequence[Job],
    took: Sequence[float],
    makespan: float,
) -> None:
    params: Params = {"load": load}
    session.latency(Latencies.of(took), side=side, open_loop=True, params=params)
    short = [one for one, job in zip(took, jobs, strict=True) if mix.is_short(job.length)]
    session.record(
        "p99 of short tasks",
        Latencies.of(short).percentile(99),
        "ms",
        side=side,
        better="lower",
        params=params,
    )
    session.record("makespan", makespan, "s", side=side, better="lower", params=params)


def _compare(session: Session, load: int) -> None:
    """Ours against the others; targets at the load for which there are some."""
    targets = {GROUP: at_most(0.4), IDEAL: at_most(1.3)} if load == HELD else {}
    params: Params = {"load": load}
    for side in (GROUP, QUEUE, IDEAL):
        session.ratio("p99", OURS, side, target=targets.get(side), params=params)
        session.ratio("p99 of short tasks", OURS, side, params=params)
        session.ratio("makespan", OURS, side, params=params)


def _explain(session: Session) -> None:
    session.note(
        f"8 agents a side with {mixed_fleet.SLOTS} slots each: 4 fast, 3 four times slower, one "
        "fast one whose event loop stands still for a second every 3 to 7 s. Of the tasks 80 % "
        "take 5 to 20 ms, 18 % 100 ms and 2 % 1 s, on a fast agent; the work is sleep. Load is "
        "per cent of what the fleet could do if no slot was ever idle."
    )
    session.note(
        "Open loop: Poisson arrivals, latency from the intended start. All sides run in the same "
        "seconds with the same arrivals, lengths and stalls, each on agents of its own. The ideal "
        "queue is a simulation with the same ones, and costs nothing: no message, no process, no "
        "stall unnoticed. 'Ours, in virtual time' is our policy in such a simulation, with 0.3 ms "
        "for a message: what lies between it and ours is the machine."
    )
    session.note(
        "Ours and the work queue store each task and each result; random, round robin and the "
        "queue group are bare requests that nobody stores, to agents with as many slots and a "
        "queue without a bound, as one writes them. They give slow agents as many tasks as fast "
        "ones, which is more than slow ones can do: their tail grows for as long as the load lasts."
    )
    session.note(
        "2 % of the tasks take a second wherever they run, so the 99th percentile of all cannot "
        "be below that: the p99 of short tasks shows what waiting behind others costs."
    )
    behind = [session.figure("began late", "generator", {"load": load}) for load in LOADS]
    worst = max((max(one.values) for one in behind if one is not None), default=0.0)
    if worst > LATE and not session.plan.quick:
        session.note(
            f"Something else kept the processors busy: the generator was up to {worst:.0f} ms "
            "late, and so were all sides alike. Latencies are that much too long."
        )


@asynccontextmanager
async def _fleet() -> AsyncIterator[tuple[dict[str, Submit], list[Child]]]:
    """All agents and clients; the second are the processes that stall."""
    async with server() as made:
        url = made.url
        await work_queue.setup(url)
        commands = [(ours.coordinator_command(url), False)]
        for kind in mixed_fleet.KINDS:
            commands.append((our_agents.command(url, kind), kind.stalls))
            commands.append((rival_agents.command(url, kind), kind.stalls))
        starting = [
            asyncio.create_task(spawn(*command, stdin=stalls)) for command, stalls in commands
        ]
        try:
            children = await asyncio.gather(*starting)
            stalling = [
                child for child, (_, stalls) in zip(children, commands, strict=True) if stalls
            ]
            async with clients(url) as submits:
                yield submits, stalling
        finally:
            for one in await asyncio.gather(*starting, return_exceptions=True):
                if isinstance(one, Child):
                    await one.stop()


SCENARIO: Final = Scenario(
    name="routing",
    summary="A mixed fleet with mixed tasks at 50, 80 and 95 % load: who waits for whom, by "
    "who chooses the agent.",
    run=run,
    seconds=280,
    quick_seconds=5,
    plots=(
        Plot(
            name="routing-load",
            title="99th percentile of short tasks in a mixed fleet, against its load",
            metric="p99 of short tasks",
            x="load",
            sides=(RANDOM, ROUND_ROBIN, GROUP, QUEUE, OURS, IDEAL),
            log_y=True,
        ),
        Plot(
            name="routing-p99",
            title="99th percentile of all tasks in a mixed fleet, against its load",
            metric="p99",
            x="load",
            sides=(RANDOM, ROUND_ROBIN, GROUP, QUEUE, OURS, IDEAL),
            log_y=True,
        ),
        Percentiles(
            name="routing-latency",
            title="Latency in a mixed fleet at 80 % load",
            where={"load": HELD},
            sides=(RANDOM, ROUND_ROBIN, GROUP, QUEUE, OURS, IDEAL),
        ),
    ),
)
