"""Which figures stand together in which table. Pure; the markdown is made elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from bench.harness.figures import Figure, Run

T = TypeVar("T")
_PERCENTILE: Final = re.compile(r"p\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below a caption."""

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)


def targets(run: Run) -> Table:
    """Every figure that is to reach something, with whether it does."""
    made = Table("", ("scenario", "figure", "median", "spread", "target", "met"))
    for one in run.figures:
        if one.target is not None:
            met = "yes" if one.met else "**no**"
            made.rows.append(
                (
                    one.scenario,
                    one.describe(),
                    f"{number(one.median)} {one.unit}".strip(),
                    spread_of(one),
                    str(one.target),
                    met,
                )
            )
    return made


def tables(figures: Sequence[Figure]) -> list[Table]:
    """The figures of one scenario: percentiles side by side, each other metric a table with a
    column a side, and what stands alone in one list."""
    percentiles = [one for one in figures if _PERCENTILE.fullmatch(one.metric)]
    others = [one for one in figures if not _PERCENTILE.fullmatch(one.metric)]
    made: list[Table] = []
    alone: list[Figure] = []
    for metric in _distinct(one.metric for one in others):
        group = [one for one in others if one.metric == metric]
        if len(group) == 1:
            alone += group
        else:
            made.append(_by_side(metric, group))
    plain = [one for one in percentiles if one.unit != "×"]
    if plain:
        made.append(_by_percentile(plain))
    for metric in _distinct(one.metric for one in percentiles):
        ratios = [one for one in percentiles if one.metric == metric and one.unit == "×"]
        if len(ratios) == 1:
            alone += ratios
        elif ratios:
            made.append(_by_side(metric, ratios))
    if alone:
        made.append(_list(alone))
    return made


def _by_side(metric: str, figures: Sequence[Figure]) -> Table:
    """A row for each circumstance, a column for each side."""
    names, caption = _circumstances(figures)
    sides = _distinct(one.side for one in figures)
    units = {one.unit for one in figures} - {"×"}
    unit = units.pop() if len(units) == 1 else ""
    title = metric if not unit or unit == metric else f"{metric} ({unit})"
    made = Table(f"{title}{caption}", (*names, *sides))
    found = {(tuple(one.params.items()), one.side): one for one in figures}
    for params in _distinct(tuple(one.params.items()) for one in figures):
        values = dict(params)
        cells = [str(values.get(name, "")) for name in names]
        cells += [cell(found.get((params, side)), unit) for side in sides]
        made.rows.append(tuple(cells))
    return made


def _by_percentile(figures: Sequence[Figure]) -> Table:
    """A row for each circumstance and side, a column for each percentile."""
    names, caption = _circumstances(figures)
    metrics = sorted(_distinct(one.metric for one in figures), key=lambda name: float(name[1:]))
    unit = figures[0].unit
    made = Table(f"latency ({unit}){caption}", (*names, "side", *metrics))
    found = {(tuple(one.params.items()), one.side, one.metric): one for one in figures}
    for params, side in _distinct((tuple(one.params.items()), one.side) for one in figures):
        values = dict(params)
        cells = [str(values.get(name, "")) for name in names]
        cells.append(side)
        cells += [cell(found.get((params, side, metric)), unit) for metric in metrics]
        made.rows.append(tuple(cells))
    return made


def _list(figures: Iterable[Figure]) -> Table:
    made = Table("", ("figure", "median", "spread"))
    for one in figures:
        made.rows.append(
            (one.describe(), f"{number(one.median)} {one.unit}".strip(), spread_of(one))
        )
    return made


def _circumstances(figures: Sequence[Figure]) -> tuple[list[str], str]:
    """The parameters that differ, which get a column each, and the others as a caption."""
    names = _distinct(name for one in figures for name in one.params)
    varying = [name for name in names if len({one.params.get(name) for one in figures}) > 1]
    fixed = [f"{name} {figures[0].params[name]}" for name in names if name not in varying]
    return varying, f" — {', '.join(fixed)}" if fixed else ""


def cell(figure: Figure | None, unit: str) -> str:
    """``12,492 (11,900 – 12,700)``, with the unit where it is not the table's."""
    if figure is None:
        return ""
    text = number(figure.median)
    if figure.unit not in ("", unit):
        text += f" {figure.unit}"
    spread = spread_of(figure)
    return f"{text} ({spread})" if spread else text


def spread_of(figure: Figure) -> str:
    """``11,900 – 12,700``: the least and the greatest; empty after a single round."""
    if len(figure.values) < 2:
        return ""
    return f"{number(min(figure.values))} – {number(max(figure.values))}"


def number(value: float) -> str:
    """Three significant digits below a thousand, whole numbers above."""
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    # Not :g alone, which would write 0.0000123 as 1.23e-05.
    return f"{value:.3g}" if abs(value) >= 0.0001 or value == 0 else f"{value:.6f}"


def _distinct(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
