"""Large fleets of simulated agents: what one coordinator and one server make of them.

Each size has a server, a coordinator and agents of its own. They join, live on for a while, the
coordinator is replaced by a new one, and the server is restarted under them all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bench.harness.figures import Params, Target, at_most
from bench.harness.processes import cpu
from bench.harness.scenario import Plot, Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session
from bench.sides import ours
from bench.simulated import stage
from bench.simulated.registry import on_disk
from bench.simulated.stage import Agents, Observed
from bench.simulated.storm import storm
from bus import Client, connect, policy
from bus.server import NatsServer

EACH_ROUND: Final = (1_000, 10_000)
ONCE: Final = (50_000, 100_000)
QUICK: Final = 200
FULL: Final = 100_000
"""The size that the targets are for."""

PAYLOAD: Final = b"x" * 128
OUTSTANDING: Final = 256
JOINING: Final = 300.0
"""Seconds in which all must have joined."""


async def run(session: Session) -> None:
    """The smaller fleets once a round, the larger ones once."""
    if session.plan.quick:
        await _measure(session, QUICK)
        return
    for size in session.interleaved(EACH_ROUND):
        await _measure(session, size)
    for size in ONCE:
        session.step(f"{size:,} agents")
        await _measure(session, size)
    session.note(
        "agents share connections, 1,000 each, so what 100,000 connections cost a server is not "
        "in the figures; each has thirteen subscriptions, five of them for its configuration, its "
        "own lease, heartbeats and delays"
    )
    session.note(
        "server, coordinator and simulated agents share the machine: while a fleet joins or comes "
        "back, 'processor time' says what each of them took of it, and so what set the pace"
    )


async def _measure(session: Session, size: int) -> None:
    params: Params = {"agents": size}
    async with server() as made, stage.agents(made.url, size) as agents:
        async with stage.coordinator(made.url) as seeing:
            await _join(session, params, made, seeing, agents)
            # Ten thousand renewals a second, so that this does not take a lease's time.
            await agents.settle(max(1.0, size / 10_000))
            await _live(session, params, made, seeing, agents)
            await _tasks(session, params, made)
            await _decide(session, params, seeing)
            session.record(
                "coordinator RSS",
                seeing.child.rss(),
                "MB",
                better="lower",
                params=params,
                target=_target(size, 400),
            )
        async with _cold_start(session, params, made) as seeing:
            await storm(session, params, made, seeing, agents)


async def _join(
    session: Session, params: Params, made: NatsServer, seeing: Observed, agents: Agents
) -> None:
    """All at once, as after a roll-out."""
    before = _used(made, seeing, agents)
    begun = (await agents.join()).first_at
    seen_at = await seeing.until(agents.count, JOINING)
    session.record("converged", seen_at - begun, "s", better="lower", params=params)
    for side, used in _used(made, seeing, agents).items():
        session.record(
            "processor time, joining", used - before[side], "s", side=side, params=params
        )


async def _live(
    session: Session, params: Params, made: NatsServer, seeing: Observed, agents: Agents
) -> None:
    """Nothing happens: heartbeats, and leases that are renewed."""
    window = session.plan.seconds(10.0 if agents.count > 10_000 else 4.0, 0.5)
    before, beats = _used(made, seeing, agents), (await agents.report()).beats
    begun = time.monotonic()
    await asyncio.sleep(window)
    after, report = _used(made, seeing, agents), await agents.report()
    window = time.monotonic() - begun
    for side, used in after.items():
        session.record(
            "processor share",
            (used - before[side]) / window,
            "cores",
            side=side,
            better="lower",
            params=params,
            target=_target(agents.count, 0.5) if side == COORDINATOR else None,
        )
    rate = (report.beats - beats) / window
    async with connect(made.url, FLEET) as bus:
        interval = (await policy.read(bus)).interval
        messages, size = await on_disk(bus, made)
    session.record("heartbeats", rate, "1/s", params=params)
    session.record("heartbeats", agents.count / interval, "1/s", side="policy", params=params)
    session.ratio("heartbeats", "ours", "policy", params=params)
    session.record("registry", messages, "messages", params=params)
    session.record("registry, on disk", size / 2**20, "MB", params=params)


async def _tasks(session: Session, params: Params, made: NatsServer) -> None:
    """Through such a fleet: each agent gets a task now and then."""
    count = session.plan.count(6_000, 300)
    load = (await ours.submit(made.url, count, OUTSTANDING, PAYLOAD)).check()
    session.record("tasks/s", load.rate, "tasks/s", better="higher", params=params)


async def _decide(session: Session, params: Params, seeing: Observed) -> None:
    """The coordinator's choice of an agent, in processor time, taken within it."""
    decisions = await seeing.decide(session.plan.count(3_000, 200))
    target = _target(int(params["agents"]), 20)
    for side, took in (
        ("any agent", decisions.nothing),
        ("by selector", decisions.selector),
        ("by session", decisions.session),
        ("by new session", decisions.new_session),
    ):
        session.record(
            "decision, p50",
            took.p50,
            "µs",
            side=side,
            better="lower",
            params=params,
            target=target,
        )
        # Others who use the processor's caches are in it, so it is held to nothing.
        session.record("decision, p99", took.p99, "µs", side=side, better="lower", params=params)
    session.record(
        "first decision by a selector",
        decisions.new_selector / 1000,
        "ms",
        better="lower",
        params=params,
    )


@asynccontextmanager
async def _cold_start(
    session: Session, params: Params, made: NatsServer
) -> AsyncIterator[Observed]:
    """A task waits, and nobody routes. From the start of a coordinator's process until it has
    read the whole registry, and until the task's result, which may come before."""
    async with Client.connect(made.url, FLEET) as client:
        handle = await client.submit("echo", PAYLOAD)
        begun = time.monotonic()

        async def result() -> float:
            await handle.result(timeout=120)
            return time.monotonic() - begun

        first = asyncio.create_task(result())
        try:
            async with stage.coordinator(made.url) as seeing:
                took, used = time.monotonic() - begun, seeing.child.cpu()
                target = _target(int(params["agents"]), 5)
                for metric, seconds, bound in (
                    ("cold start", took, target),
                    ("cold start, first result", await first, None),
                    ("cold start, processor time", used, None),
                ):
                    session.record(
                        metric, seconds, "s", better="lower", params=params, target=bound
                    )
                yield seeing
        finally:
            first.cancel()


COORDINATOR: Final = "coordinator"


def _used(made: NatsServer, seeing: Observed, agents: Agents) -> dict[str, float]:
    """Processor seconds so far."""
    return {
        COORDINATOR: seeing.child.cpu(),
        "nats-server": cpu(made.pid or 0),
        "simulated agents": agents.cpu(),
    }


def _target(size: int, bound: float) -> Target | None:
    return at_most(bound) if size == FULL else None


SCENARIO: Final = Scenario(
    name="scale",
    summary="Fleets of 1,000 to 100,000 simulated agents with one coordinator and one server: they "
    "join, live on, get tasks, the coordinator is replaced, the server is restarted.",
    run=run,
    seconds=300,
    quick_seconds=6,
    plots=(
        Plot(
            name="scale-memory",
            title="Resident memory of a coordinator (MB)",
            metric="coordinator RSS",
            x="agents",
            log_x=True,
        ),
        Plot(
            name="scale-processor",
            title="Cores used by a fleet that has nothing to do",
            metric="processor share",
            x="agents",
            sides=(COORDINATOR, "nats-server"),
            log_x=True,
        ),
        Plot(
            name="scale-decision",
            title="Time to choose an agent, median (µs)",
            metric="decision, p50",
            x="agents",
            sides=("any agent", "by selector", "by session", "by new session"),
            log_x=True,
        ),
        Plot(
            name="scale-cold-start",
            title="From the start of a coordinator until it knows all agents (s)",
            metric="cold start",
            x="agents",
            log_x=True,
        ),
        Plot(
            name="scale-restart",
            title="From a restart of the server until all agents are registered (s)",
            metric="restart: all registered after",
            x="agents",
            log_x=True,
        ),
    ),
)
