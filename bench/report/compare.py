"""What changed from one run to another, and what is only noise. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bench.harness.figures import Fact, Figure, Run
from bench.report.layout import Table, cell

Verdict = Literal["better", "worse", "changed", "noise", "unknown"]
"""``changed`` is a figure for which no way is better; ``unknown`` had too few rounds, or is an
absolute figure of another machine."""

SMALL: Final = 0.02
"""Changes of the median below 2 % are noise on any machine."""
MACHINE: Final = ("system", "processor", "memory")
"""Facts without which only ratios can be compared."""
FEWEST: Final = 3
"""Rounds of each run below which nothing is said: two runs of three rounds are completely apart
by chance once in ten figures, two runs of five once in 126."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both runs."""

    before: Figure
    after: Figure
    verdict: Verdict

    @property
    def change(self) -> float:
        """Of the median, as a share of what it was; infinite where that was 0."""
        before, after = self.before.median, self.after.median
        if before == after:
            return 0.0
        return (after - before) / abs(before) if before else float("inf")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, figure by figure."""

    changes: list[Change]
    gone: list[Figure]
    """In the first run only."""
    new: list[Figure]
    """In the second run only."""
    circumstances: list[tuple[Fact, Fact]]
    """Facts that differ: with another machine or version, absolute figures say little."""

    def with_verdict(self, *verdicts: Verdict) -> list[Change]:
        """Those of these verdicts."""
        return [one for one in self.changes if one.verdict in verdicts]


def compare(before: Run, after: Run) -> Comparison:
    """Match the figures of two runs by their names and judge each."""
    old = {one.key: one for one in before.figures}
    new = {one.key: one for one in after.figures}
    facts = {one.name: one for one in before.facts}
    circumstances = [
        (facts[one.name], one)
        for one in after.facts
        if one.name in facts and facts[one.name].value != one.value
    ]
    same = not any(one.name in MACHINE for _, one in circumstances)
    return Comparison(
        changes=[
            Change(
                old[key],
                one,
                judge(old[key], one) if same or one.unit == "×" else "unknown",
            )
            for key, one in new.items()
            if key in old
        ],
        gone=[one for key, one in old.items() if key not in new],
        new=[one for key, one in new.items() if key not in old],
        circumstances=circumstances,
    )


def judge(before: Figure, after: Figure) -> Verdict:
    """Beyond the noise if the rounds of one run are all above those of the other, and the
    medians differ by more than 2 %."""
    if before.values == after.values:
        return "noise"
    if min(len(before.values), len(after.values)) < FEWEST:
        return "unknown"
    up = min(after.values) > max(before.values)
    down = max(after.values) < min(before.values)
    small = abs(after.median - before.median) <= SMALL * abs(before.median)
    if small or not (up or down):
        return "noise"
    if not after.better:
        return "changed"
    return "better" if up == (after.better == "higher") else "worse"


def table(changes: Sequence[Change]) -> Table:
    """Changes, the greatest first."""
    made = Table("", ("scenario", "figure", "before", "after", "change", "verdict"))
    for one in sorted(changes, key=lambda change: -abs(change.change)):
        unit = one.after.unit
        made.rows.append(
            (
                one.after.scenario,
                one.after.describe(),
                f"{cell(one.before, unit)} {unit}".strip(),
                f"{cell(one.after, unit)} {unit}".strip(),
                f"{one.change:+.1%}" if one.before.median else "from 0",
                one.verdict,
            )
        )
    return made
