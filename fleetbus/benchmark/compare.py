"""``fleetbus bench compare``: what changed between two results."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.benchmark.report import result_file
from fleetbus.connection import Json, run
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from bench.report.compare import Change, Comparison

HELP = """Say what changed from one result to another, beyond the noise.

A figure changed if all its rounds in one result are above all its rounds in the other, and the
medians differ by more than 2 %. With fewer than three rounds on either side nothing is said.
Between two machines, or two hours of a busy one, only ratios (×) can be compared.

Examples:

  fleetbus bench compare bench-results/before bench-results/after

  fleetbus bench compare main.json branch.json --check
"""

Result = Annotated[Path, typer.Argument(show_default=False, help="A result's folder or file.")]


def compare(
    before: Result,
    after: Result,
    everything: Annotated[
        bool, typer.Option("--all", help="Also figures that did not change.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a figure became worse or is missing.")
    ] = False,
    as_json: Json = False,
) -> None:
    raise typer.Exit(run(_compare(before, after, everything, check, as_json)))


async def _compare(before: Path, after: Path, everything: bool, check: bool, as_json: bool) -> Exit:
    from bench.harness.figures import load
    from bench.report.compare import compare as compared

    runs = [load(result_file(file)) for file in (before, after)]
    if any(one.quick for one in runs):
        console.hint("a quick run is among them: its figures mean nothing")
    made = compared(*runs)
    if as_json:
        console.print_document(_document(made))
    else:
        _print(made, everything)
    return Exit.FAILED if check and (made.with_verdict("worse") or made.gone) else Exit.OK


def _print(made: "Comparison", everything: bool) -> None:
    from bench.report.compare import table
    from bench.report.markdown import render

    for old, new in made.circumstances:
        console.hint(f"{old.name}: {old.value} before, {new.value} after")
    shown = made.changes if everything else made.with_verdict("better", "worse", "changed")
    if shown:
        print(render(table(shown)))
        print()
    counts = {
        "better": len(made.with_verdict("better")),
        "worse": len(made.with_verdict("worse")),
        "changed": len(made.with_verdict("changed")),
        "within the noise": len(made.with_verdict("noise")),
        "that cannot be compared": len(made.with_verdict("unknown")),
        "only before": len(made.gone),
        "only after": len(made.new),
    }
    print(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no figures")


def _document(made: "Comparison") -> dict[str, Any]:
    return {
        "changes": [_change(one) for one in made.changes],
        "only_before": [one.describe() for one in made.gone],
        "only_after": [one.describe() for one in made.new],
        "facts": [
            {"name": old.name, "before": old.value, "after": new.value}
            for old, new in made.circumstances
        ],
    }


def _change(one: "Change") -> dict[str, Any]:
    return {
        "scenario": one.after.scenario,
        "metric": one.after.metric,
        "side": one.after.side,
        "params": one.after.params,
        "unit": one.after.unit,
        "before": list(one.before.values),
        "after": list(one.after.values),
        "verdict": one.verdict,
    }
