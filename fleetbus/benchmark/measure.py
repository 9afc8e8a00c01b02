"""``fleetbus bench run``: measure, keep the result, report it."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetbus import console
from fleetbus.benchmark.report import FOLDER, RESULT, Pictures, usable, write
from fleetbus.connection import Json, run
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from bench.harness.figures import Run
    from bench.harness.scenario import Scenario
    from bench.harness.session import Plan

HELP = """Run scenarios; keep the figures, and a report with pictures beside them.

Without a name all scenarios run but those that --list calls 'on request'. Every case is measured
once a round, the cases of a round next to each other, so that a neighbour on this machine
disturbs all sides alike; the report gives medians with the least and the greatest.

The result goes to a new folder of bench-results: result.json, report.md and pictures. It is
written after each scenario, so that Ctrl-C costs the one that is running.

Examples:

  fleetbus bench

  fleetbus bench dispatch call --rounds 5

  fleetbus bench --quick

  fleetbus bench soak --scale 6

  fleetbus bench dispatch --json | jq '.figures[] | select(.unit == "×")'
"""


def measure(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCENARIO", show_default=False, help="Which; see --list."),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", "-n", metavar="N", min=1, help="Repetitions of each case.")
    ] = 3,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A smoke test: small and once. Its figures mean nothing."),
    ] = False,
    scale: Annotated[
        float,
        typer.Option(metavar="X", help="So many times as long: 0.2 for an impression, 10 to soak."),
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Another one draws other arrivals and mixes.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", show_default=False, help="Keep it here."),
    ] = None,
    pictures: Pictures = "svg",
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a target is missed.")
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Show the scenarios and about how long they take.")
    ] = False,
    as_json: Json = False,
) -> None:
    if not 0 < scale <= 10_000:
        raise typer.BadParameter(f"--scale {scale:g} is not above 0 and up to 10000")
    raise typer.Exit(
        run(
            _measure(
                names or [], rounds, quick, scale, seed, out, pictures, check, listing, as_json
            )
        )
    )


async def _measure(
    names: list[str],
    rounds: int,
    quick: bool,
    scale: float,
    seed: int,
    out: Path | None,
    pictures: Pictures,
    check: bool,
    listing: bool,
    as_json: bool,
) -> Exit:
    from bench.harness.errors import BenchError
    from bench.harness.figures import save
    from bench.harness.runner import chosen
    from bench.harness.runner import run as measured
    from bench.harness.session import Plan
    from fleetbus.benchmark.progress import progress

    plan = Plan(1 if quick else rounds, quick, seed, scale)
    try:
        scenarios = chosen(names)
    except BenchError as error:
        raise typer.BadParameter(f"{error} ('fleetbus bench --list' explains them)") from None
    if listing:
        _list(plan, as_json)
        return Exit.OK
    # With the process id: two that begin in the same second do not share a folder.
    folder = out or FOLDER / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}-{os.getpid()}"
    usable(folder, pictures)
    result: Run | None = None
    told = _until_told()
    try:
        with progress() as shown:
            async for result in measured(scenarios, plan, shown):
                save(result, folder / RESULT)
    except asyncio.CancelledError:
        console.say("interrupted")
        if told:
            raise typer.Exit(128 + told[0]) from None
        raise
    finally:
        if result is not None and len(result.scenarios) < len(scenarios):
            console.hint(f"{', '.join(result.scenarios)} finished: {folder / RESULT}")
    if result is None:
        raise BenchError("there was nothing to measure")
    text = write(result, folder, pictures)
    if as_json:
        console.print_document(result)
    else:
        print(text, end="")
    return _verdict(result, folder, check)


def _until_told() -> list[int]:
    """Have SIGTERM and SIGHUP end this task as Ctrl-C does, with everything cleaned up; the list
    holds the one that came."""
    told: list[int] = []
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def end(number: int) -> None:
        told.append(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    return told


def _verdict(result: "Run", folder: Path, check: bool) -> Exit:
    """Tell on stderr what a reader of the report must not miss."""
    for failure in result.failures:
        console.say(failure.trace.rstrip())
        console.say(f"{failure.scenario}: {failure.problem}", "error", "31")
    console.hint(f"result, report and pictures: {folder}")
    missed = result.missed() if check else []
    for figure in missed:
        console.say(
            f"{figure.scenario}: {figure.describe()} is {figure.median:.4g}, "
            f"the target is {figure.target}",
            "missed",
            "31",
        )
    return Exit.FAILED if result.failures or missed else Exit.OK


def _list(plan: "Plan", as_json: bool) -> None:
    from bench.harness.scenario import NAMES, scenario
    from bench.harness.session import estimate

    known: list[Scenario] = [scenario(name) for name in NAMES]
    if as_json:
        console.print_document(
            [
                {
                    "name": one.name,
                    "summary": one.summary,
                    "by_default": one.by_default,
                    "seconds": round(estimate(one, plan)),
                }
                for one in known
            ]
        )
        return
    made = console.table("scenario", ">about", "runs", "what")
    for one in known:
        when = "by default" if one.by_default else "on request"
        made.add_row(one.name, console.duration(estimate(one, plan)), when, one.summary)
    console.stdout().print(made)
