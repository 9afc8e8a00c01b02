"""The pictures of a run. The only module that knows matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Final, Literal

from bench.harness.errors import Missing
from bench.harness.figures import Figure, Latency, Params, Run
from bench.harness.latency import Latencies
from bench.harness.scenario import Percentiles, Plot, Scenario
from bench.report.layout import number

try:
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
except ImportError as error:
    raise Missing(
        "matplotlib", "pip install 'fleetbus[bench]', or ask for --pictures none"
    ) from error

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette: told apart by colour-blind readers. Ours comes first."""
MARKERS: Final = "osD^vP*"
SHARES: Final = (50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99)
STYLE: Final[Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "font.size": 9.5,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    # The same run gives the same file, and text stays text.
    "svg.fonttype": "none",
    "svg.hashsalt": "fleetbus",
}


def draw(
    run: Run, scenarios: Sequence[Scenario], folder: Path, kind: Literal["svg", "png"] = "svg"
) -> dict[str, list[str]]:
    """Draw every picture for which the run has figures; the files' names by scenario.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, list[str]] = {}
    for scenario in scenarios:
        for plot in scenario.plots:
            with rc_context(STYLE):
                canvas = Canvas(figsize=(7.2, 4.0), layout="constrained")
                if isinstance(plot, Percentiles):
                    found = _percentiles(canvas, plot, run, scenario.name)
                else:
                    found = _plot(canvas, plot, run, scenario.name)
                if found:
                    name = f"{plot.name}.{kind}"
                    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}
                    canvas.savefig(folder / name, dpi=150, metadata=metadata)
                    drawn.setdefault(scenario.name, []).append(name)
    return drawn


def _fits(params: Params, where: Params | None) -> bool:
    return all(params.get(name) == value for name, value in (where or {}).items())


def _sides(wanted: Sequence[str], found: Iterable[str]) -> list[str]:
    known = list(dict.fromkeys(found))
    return [side for side in wanted if side in known] if wanted else known


def _colours(sides: Sequence[str]) -> dict[str, str]:
    """One for each side. Ours has the first in every picture, wherever it stands."""
    ordered = sorted(sides, key=lambda side: side != "ours")
    return {side: COLOURS[index % len(COLOURS)] for index, side in enumerate(ordered)}


def _plot(canvas: Canvas, plot: Plot, run: Run, scenario: str) -> bool:
    figures = [
        one
        for one in run.figures
        if one.scenario == scenario
        and one.metric == plot.metric
        and plot.x in one.params
        and _fits(one.params, plot.where)
        and (one.side in plot.sides if plot.sides else one.unit != "×")
    ]
    if not figures:
        return False
    axes = canvas.subplots()
    axes.set_title(plot.title)
    axes.set_xlabel(plot.x)
    unit = figures[0].unit
    axes.set_ylabel(plot.metric if unit in ("", plot.metric) else f"{plot.metric} ({unit})")
    sides = _sides(plot.sides, (one.side for one in figures))
    if plot.kind == "bars":
        _bars(axes, figures, sides, plot.x)
    else:
        _lines(axes, figures, sides, plot.x, plot.log_x)
    _scale(axes, plot.log_y)
    if len(sides) > 1:
        axes.legend()
    return True


def _scale(axes: Any, log: bool) -> None:
    """The y axis, from 0 or logarithmic with a tick at 1, 2 and 5 of each decade."""
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _lines(axes: Any, figures: Sequence[Figure], sides: Sequence[str], x: str, log: bool) -> None:
    """A line of medians for each side, and a band from the least to the greatest."""
    at: set[float] = set()
    colours = _colours(sides)
    for index, side in enumerate(sides):
        points = sorted(
            ((float(one.params[x]), one) for one in figures if one.side == side),
            key=lambda point: point[0],
        )
        xs = [point[0] for point in points]
        at.update(xs)
        colour = colours[side]
        axes.plot(
            xs,
            [one.median for _, one in points],
            color=colour,
            marker=MARKERS[index % len(MARKERS)],
            label=side,
        )
        axes.fill_between(
            xs,
            [min(one.values) for _, one in points],
            [max(one.values) for _, one in points],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    if log:
        axes.set_xscale("log")
    if len(at) <= 10:
        axes.xaxis.set_major_locator(FixedLocator(sorted(at)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _bars(axes: Any, figures: Sequence[Figure], sides: Sequence[str], x: str) -> None:
    """A group of bars for each value of the parameter, in the order in which they came."""
    groups = list(dict.fromkeys(one.params[x] for one in figures))
    width = 0.8 / len(sides)
    colours = _colours(sides)
    for index, side in enumerate(sides):
        here = [one for one in figures if one.side == side]
        xs = [groups.index(one.params[x]) - 0.4 + width * (index + 0.5) for one in here]
        bars = axes.bar(
            xs,
            [one.median for one in here],
            width * 0.92,
            color=colours[side],
            label=side,
            yerr=(
                [one.median - min(one.values) for one in here],
                [max(one.values) - one.median for one in here],
            ),
            error_kw={"ecolor": "#555555", "elinewidth": 0.8},
        )
        axes.bar_label(bars, [number(one.median) for one in here], fontsize=7, padding=2)
    axes.grid(axis="x", visible=False)
    # Long names break into lines, or neighbours would write over each other.
    width_of_name = max(6, 72 // len(groups))
    axes.set_xticks(range(len(groups)), [fill(str(group), width_of_name) for group in groups])


def _percentiles(canvas: Canvas, plot: Percentiles, run: Run, scenario: str) -> bool:
    found = [
        one for one in run.latencies if one.scenario == scenario and _fits(one.params, plot.where)
    ]
    sides = _sides(plot.sides, (one.side for one in found))
    if not sides:
        return False
    axes = canvas.subplots()
    axes.set_title(plot.title)
    axes.set_xlabel("percentile")
    axes.set_ylabel("latency (ms)")
    drawn: list[float] = []
    colours = _colours(sides)
    for index, side in enumerate(sides):
        took = _merged([one for one in found if one.side == side])
        # Beyond ten slower ones a percentile is an anecdote.
        shares = [share for share in SHARES if took.count * (100 - share) / 100 >= 10]
        drawn = max(drawn, shares)
        axes.plot(
            [100 / (100 - share) for share in shares],
            [took.percentile(share) for share in shares],
            color=colours[side],
            marker=MARKERS[index % len(MARKERS)],
            label=side,
        )
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([100 / (100 - share) for share in drawn], [f"{share:g}" for share in drawn])
    _scale(axes, plot.log_y)
    axes.legend()
    return True


def _merged(latencies: Sequence[Latency]) -> Latencies:
    made = Latencies()
    for one in latencies:
        made.add(Latencies.decode(one.histogram))
    return made
