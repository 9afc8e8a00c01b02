"""Durable tasks: ours against the floors and against a work queue whose workers pull.

The load is generated in this process, one side after the other, while the processes of all
sides stay connected: idle ones cost next to nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from bench.harness.figures import Params, at_least, at_most
from bench.harness.latency import Latencies
from bench.harness.load import Load
from bench.harness.processes import running
from bench.harness.scenario import Percentiles, Plot, Scenario
from bench.harness.servers import server
from bench.harness.session import Session
from bench.sides import floor, ours, work_queue
from bus.topology import TopologySettings

PAYLOAD: Final = b"x" * 128
OUTSTANDING: Final = {1: 1_500, 8: 5_000, 64: 15_000, 512: 20_000, 2048: 30_000}
"""Tasks outstanding, and how many to submit in all."""
LEAN, FULL, QUEUE, OURS = "lean floor", "full floor", "work queue", "ours"

Submit = Callable[[int, int, bytes], Coroutine[Any, Any, Load]]


@dataclass(frozen=True)
class Setting:
    """Under what a server and its agents run."""

    storage: Literal["file", "memory"] = "file"
    agents: int = 2
    sync: Literal["default", "always"] = "default"

    @property
    def params(self) -> Params:
        return {"storage": self.storage, "agents": self.agents, "sync": self.sync}


USUAL: Final = Setting()
SETTINGS: Final = (
    (USUAL, (1, 8, 64, 512, 2048), (OURS, LEAN, FULL, QUEUE)),
    (Setting(storage="memory"), (64, 512), (OURS, LEAN)),
    (Setting(agents=1), (64, 512), (OURS, LEAN)),
    (Setting(agents=4), (64, 512), (OURS, LEAN)),
    (Setting(sync="always"), (1, 64, 512), (OURS, LEAN, FULL, QUEUE)),
)
"""Each setting, the numbers outstanding and the sides that are measured under it."""


@dataclass(frozen=True)
class Case:
    """One run of the load generator."""

    setting: Setting
    outstanding: int
    side: str

    def __str__(self) -> str:
        s = self.setting
        return (
            f"{self.side}, {self.outstanding} outstanding, {s.agents} agents, "
            f"{s.storage} storage, sync {s.sync}"
        )


async def run(session: Session) -> None:
    """Every setting on a server of its own, one after the other."""
    for setting, loads, sides in SETTINGS:
        session.step(f"starting {setting.agents} agents, {setting.storage}, sync {setting.sync}")
        async with _sides(setting, sides) as submits:
            for submit in submits.values():
                (await submit(session.plan.count(2000, 100), 64, PAYLOAD)).check()  # warm up
            cases = [Case(setting, load, side) for load in loads for side in sides]
            for case in session.interleaved(cases):
                await _measure(session, case, submits[case.side])
        for load in loads:
            _compare(session, {**setting.params, "outstanding": load}, setting == USUAL)


async def _measure(session: Session, case: Case, submit: Submit) -> None:
    full = OUTSTANDING[case.outstanding]
    if case.setting.sync == "always":
        full //= 10  # the disk sets the pace
    count = max(case.outstanding, session.plan.count(full, 100))
    load = (await submit(count, case.outstanding, PAYLOAD)).check()
    params = {**case.setting.params, "outstanding": case.outstanding}
    session.record("tasks/s", load.rate, "tasks/s", side=case.side, better="higher", params=params)
    session.latency(Latencies.of(load.took), side=case.side, params=params)


def _compare(session: Session, params: Params, held: bool) -> None:
    """Ours against each of the others; targets only under the usual setting."""
    outstanding = params["outstanding"]
    for side in (LEAN, FULL, QUEUE):
        target = None
        if held and outstanding == 512:
            target = {LEAN: at_least(0.85), QUEUE: at_least(1.0)}.get(side)
        session.ratio("tasks/s", OURS, side, target=target, params=params)
    if outstanding == 1:
        for side in (LEAN, FULL, QUEUE):
            target = at_most(1.25) if held and side == LEAN else None
            session.ratio("p50", OURS, side, target=target, params=params)


@asynccontextmanager
async def _sides(setting: Setting, sides: Sequence[str]) -> AsyncIterator[dict[str, Submit]]:
    """A server, the processes of each side on it, and how to submit to each."""
    submits: dict[str, Submit] = {}
    commands: list[tuple[str, ...]] = []
    names = [f"a{number}" for number in range(setting.agents)]
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(
            server(
                sync_always=setting.sync == "always",
                settings=TopologySettings(storage=setting.storage),
            )
        )
        url = made.url
        for kind, side in ((floor.LEAN, LEAN), (floor.FULL, FULL)):
            if side in sides:
                await floor.setup(url, kind, setting.storage)
                commands += floor.commands(url, kind, names)
                submits[side] = partial(floor.submit, url, kind)
        if QUEUE in sides:
            await work_queue.setup(url, setting.storage)
            commands += work_queue.commands(url, names)
            submits[QUEUE] = partial(work_queue.submit, url)
        if OURS in sides:
            commands.append(ours.coordinator_command(url, storage=setting.storage))
            commands += [ours.agent_command(url, name) for name in names]
            submits[OURS] = partial(ours.submit, url)
        await stack.enter_async_context(running(*commands))
        yield submits


_USUAL: Final = dict(USUAL.params)

SCENARIO: Final = Scenario(
    name="dispatch",
    summary="Durable tasks of 128 bytes from one client over one coordinator to agents that "
    "answer with the payload: stored before they are taken, result stored before it is seen.",
    run=run,
    seconds=240,
    quick_seconds=15,
    plots=(
        Plot(
            name="dispatch-throughput",
            title="Durable tasks a second against tasks outstanding (2 agents, file storage)",
            metric="tasks/s",
            x="outstanding",
            where=_USUAL,
            sides=(OURS, LEAN, FULL, QUEUE),
            log_x=True,
        ),
        Plot(
            name="dispatch-agents",
            title="Durable tasks a second against the number of agents (512 outstanding)",
            metric="tasks/s",
            x="agents",
            where={"storage": "file", "sync": "default", "outstanding": 512},
            sides=(OURS, LEAN),
        ),
        Percentiles(
            name="dispatch-latency",
            title="Latency of durable tasks, 64 outstanding (closed loop)",
            where={**_USUAL, "outstanding": 64},
            sides=(OURS, LEAN, FULL, QUEUE),
        ),
    ),
)
