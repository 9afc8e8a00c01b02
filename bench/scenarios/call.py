"""Calls: ours against a bare NATS request and against a NATS queue group.

One process calls, and the sides take turns while the processes of all stay connected: idle ones
cost next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.harness.errors import BenchError
from bench.harness.figures import Params, at_most
from bench.harness.latency import Latencies
from bench.harness.load import closed_loop
from bench.harness.processes import Child, cpu, running
from bench.harness.scenario import Percentiles, Plot, Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session
from bench.sides import bare_request, ours
from bus import Client

PAYLOAD: Final = b"x" * 128
OUTSTANDING: Final = {1: 3_000, 8: 8_000, 64: 12_000}
"""Calls outstanding, and how many to make in all."""
OURS, BARE, GROUP = "ours", "bare request", "queue group"


@dataclass(frozen=True)
class Side:
    """Who is called, and the processes that it takes beside the caller and the server."""

    call: Callable[[], Awaitable[object]]
    processes: tuple[Child, ...]


@dataclass(frozen=True)
class Case:
    """One run of the load generator."""

    outstanding: int
    side: str

    def __str__(self) -> str:
        return f"{self.side}, {self.outstanding} outstanding"

    @property
    def params(self) -> Params:
        return {"outstanding": self.outstanding}


async def run(session: Session) -> None:
    """All sides on one server."""
    async with server() as made, _sides(made.url) as sides:
        for side in sides.values():
            await closed_loop(side.call, session.plan.count(1000, 50), 8)  # warm up
        cases = [Case(load, side) for load in OUTSTANDING for side in sides]
        for case in session.interleaved(cases):
            await _measure(session, case, sides[case.side], made.pid)
    for load in OUTSTANDING:
        params: Params = {"outstanding": load}
        session.ratio("calls/s", OURS, GROUP, params=params)
    one: Params = {"outstanding": 1}
    session.ratio("p50", OURS, BARE, target=at_most(2.1), params=one)
    session.ratio("p50", OURS, GROUP, params=one)
    session.note(
        "A call of ours passes the server three times, by way of a coordinator that knows how "
        "busy each agent is; a bare request passes it twice. Where 'caller busy' is near 100 %, "
        "the one calling process sets the pace; below that, with many outstanding, the cores do: "
        "compare 'CPU a call'."
    )


async def _measure(session: Session, case: Case, side: Side, server_pid: int | None) -> None:
    if server_pid is None:
        raise BenchError("the server has ended")
    count = max(case.outstanding, session.plan.count(OUTSTANDING[case.outstanding], 100))

    def others() -> float:
        return cpu(server_pid) + sum(one.cpu() for one in side.processes)

    before, mine_before = others(), time.process_time()
    load = (await closed_loop(side.call, count, case.outstanding)).check()
    mine = time.process_time() - mine_before
    spent = mine + others() - before
    side_name, params = case.side, case.params
    session.record("calls/s", load.rate, "calls/s", side=side_name, better="higher", params=params)
    session.record(
        "CPU a call", spent / count * 1e6, "µs", side=side_name, better="lower", params=params
    )
    session.record("caller busy", mine / load.seconds * 100, "%", side=side_name, params=params)
    session.latency(Latencies.of(load.took), side=side_name, params=params)


@asynccontextmanager
async def _sides(url: str) -> AsyncIterator[dict[str, Side]]:
    async with AsyncExitStack() as stack:
        agents = await stack.enter_async_context(
            running(
                ours.coordinator_command(url),
                ours.agent_command(url, "a0"),
                ours.agent_command(url, "a1"),
            )
        )
        alone, *group = await stack.enter_async_context(
            running(bare_request.command(url), *[bare_request.group_command(url)] * 2)
        )
        client = await stack.enter_async_context(Client.connect(url, FLEET))
        asks = [
            await stack.enter_async_context(bare_request.asker(url, subject))
            for subject in (bare_request.SUBJECT, bare_request.GROUP_SUBJECT)
        ]
        yield {
            OURS: Side(partial(client.call, "echo", PAYLOAD), tuple(agents)),
            BARE: Side(partial(asks[0], PAYLOAD), (alone,)),
            GROUP: Side(partial(asks[1], PAYLOAD), tuple(group)),
        }


SCENARIO: Final = Scenario(
    name="call",
    summary="Calls of 128 bytes from one client over one coordinator to two agents that answer "
    "with the payload, against a bare NATS request to one responder and to a group of two.",
    run=run,
    seconds=40,
    quick_seconds=4,
    plots=(
        Percentiles(
            name="call-latency",
            title="Latency of a call, one at a time",
            where={"outstanding": 1},
            sides=(OURS, BARE, GROUP),
        ),
        Percentiles(
            name="call-latency-64",
            title="Latency of a call, 64 outstanding (closed loop)",
            where={"outstanding": 64},
            sides=(OURS, BARE, GROUP),
        ),
        Plot(
            name="call-throughput",
            title="Calls a second against calls outstanding",
            metric="calls/s",
            x="outstanding",
            sides=(OURS, BARE, GROUP),
            log_x=True,
        ),
    ),
)
