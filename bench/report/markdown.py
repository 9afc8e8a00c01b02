"""The report of a run as markdown that reads well unrendered, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.harness.figures import Note, Run
from bench.harness.scenario import Scenario
from bench.report.layout import Table, tables, targets

CAVEATS = (
    "Everything runs on one machine over loopback: client, server, coordinator and agents share "
    "its cores, so the figures are of processor time and not of a network.",
    "One replica. A cluster of three adds two network hops to every stored message.",
    "Compare sides within a run, not figures of two machines: a ratio is taken round by round, "
    "when both sides had the same neighbours.",
)


def report(run: Run, scenarios: Sequence[Scenario], plots: Mapping[str, Sequence[str]]) -> str:
    """The whole report.

    Args:
        run: what was measured.
        scenarios: those of the run, for what they say of themselves.
        plots: for each scenario the picture files, relative to the report.
    """
    parts = [f"# fleetbus bench, {run.started[:10]}", _head(run)]
    parts += ["", *(f"- **{fact.name}**: {fact.value}" for fact in run.facts)]
    parts += ["", "Read with this in mind:", "", *(f"- {text}" for text in CAVEATS)]
    held = targets(run)
    if held.rows and not run.quick:
        parts += ["", "## Targets", "", render(held)]
    for failure in run.failures:
        parts += ["", f"**{failure.scenario} failed:** {failure.problem}"]
    for scenario in scenarios:
        parts += ["", f"## {scenario.name}", "", scenario.summary]
        parts += _notes([note for note in run.notes if note.scenario == scenario.name])
        for name in plots.get(scenario.name, ()):
            parts += ["", f"![{name.rpartition('/')[2].partition('.')[0]}]({name})"]
        for grid in run.grids:
            if grid.scenario == scenario.name:
                parts += ["", render(Table(grid.caption, grid.columns, list(grid.rows)))]
        for table in tables([one for one in run.figures if one.scenario == scenario.name]):
            parts += ["", render(table)]
    return "\n".join(parts) + "\n"


def _head(run: Run) -> str:
    rounds = "one round" if run.rounds == 1 else f"{run.rounds} interleaved rounds"
    text = f"\nMedians of {rounds}, least and greatest behind them; {run.seconds:,.0f} s in all."
    if run.quick:
        text += "\n\n**A quick run: it shows that everything runs, its figures mean nothing.**"
    return text


def _notes(notes: Sequence[Note]) -> list[str]:
    if not notes:
        return []
    return [
        "",
        *(
            f"- **{note.skipped} was left out:** {note.text}" if note.skipped else f"- {note.text}"
            for note in notes
        ),
    ]


def render(table: Table) -> str:
    """A markdown table with its columns aligned; numbers on the right."""
    rows = [tuple(one.replace("|", "\\|") for one in row) for row in (table.columns, *table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    right = [
        all(not row[i] or row[i][0] in "-0123456789" for row in rows[1:])
        for i in range(len(table.columns))
    ]
    lines = [
        "| "
        + " | ".join(
            text.rjust(width) if numeric else text.ljust(width)
            for text, width, numeric in zip(row, widths, right, strict=True)
        )
        + " |"
        for row in rows
    ]
    rule = [
        "-" * (width + 1) + ":" if numeric else "-" * (width + 2)
        for width, numeric in zip(widths, right, strict=True)
    ]
    lines.insert(1, f"|{'|'.join(rule)}|")
    return "\n".join([f"**{table.caption}**", "", *lines] if table.caption else lines)
