"""Runs the chosen scenarios one after the other and gathers what they found."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from bench.harness.facts import Interference, facts
from bench.harness.figures import FORMAT, Failure, Figure, Grid, Latency, Note, Run
from bench.harness.progress import NullProgress, Progress
from bench.harness.scenario import NAMES, Scenario, scenario
from bench.harness.session import Plan, Session, estimate


def chosen(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names in the order of the list; none named: all that run by default.

    Raises:
        BenchError: there is no such scenario.
    """
    wanted = {scenario(name).name for name in names}
    if wanted:
        return [scenario(name) for name in NAMES if name in wanted]
    return [one for one in map(scenario, NAMES) if one.by_default]


async def run(
    scenarios: Sequence[Scenario], plan: Plan, progress: Progress | None = None
) -> AsyncIterator[Run]:
    """Measure; after each scenario, everything so far, so that an end before the time costs
    no more than the scenario that it hits.

    A scenario that fails is told in ``Run.failures``, and the next one has its turn.

    Raises:
        ServerError: there is no nats-server to measure with.
    """
    shown = progress or NullProgress()
    started, begun = datetime.now(UTC), time.monotonic()
    interference = Interference()
    known = facts()
    figures: list[Figure] = []
    latencies: list[Latency] = []
    notes: list[Note] = []
    grids: list[Grid] = []
    failures: list[Failure] = []
    for number, one in enumerate(scenarios):
        shown.scenario(one.name, number + 1, len(scenarios))
        after = sum(estimate(later, plan) for later in scenarios[number + 1 :])
        session = Session(one, plan, shown, after)
        session.step("starting")
        try:
            await one.run(session)
        except Exception as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # It was interrupted, and something failed while it cleaned up.
                raise asyncio.CancelledError from error
            trace = "".join(traceback.format_exception(error))
            failures.append(Failure(one.name, describe(error), trace))
        else:
            figures += session.figures
            latencies += session.latencies
            grids += session.grids
        notes += session.notes
        yield Run(
            format=FORMAT,
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - begun, 1),
            scenarios=tuple(done.name for done in scenarios[: number + 1]),
            rounds=plan.rounds,
            quick=plan.quick,
            facts=(*known, *interference.facts()),
            figures=tuple(figures),
            latencies=tuple(latencies),
            notes=tuple(notes),
            grids=tuple(grids),
            failures=tuple(failures),
        )


def describe(error: BaseException) -> str:
    """One line; a group of errors is described by its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
