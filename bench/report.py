"""Figures, and the table that shows them beside what they are to reach."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One figure of one scenario, over several rounds."""

    scenario: str
    name: str
    values: tuple[float, ...]
    unit: str
    target: str = ""
    """What it is to reach, as people say it."""
    met: bool | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def at_least(bound: float, values: Sequence[float]) -> bool:
    """True if the median reaches ``bound``."""
    return statistics.median(values) >= bound


def at_most(bound: float, values: Sequence[float]) -> bool:
    """True if the median stays within ``bound``."""
    return statistics.median(values) <= bound


def table(rows: Sequence[Row]) -> str:
    """Markdown, with the median and the spread of each figure."""
    lines = [
        "| scenario | figure | median | min – max | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        met = {None: "", True: "yes", False: "NO"}[row.met]
        spread = f"{_short(min(row.values))} – {_short(max(row.values))}"
        lines.append(
            f"| {row.scenario} | {row.name} | {_short(row.median)} {row.unit} "
            f"| {spread} | {row.target} | {met} |"
        )
    return "\n".join(lines)


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
