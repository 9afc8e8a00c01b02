"""What a scenario is given: its plan, and a place for what it measures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.harness.errors import BenchError
from bench.harness.figures import Better, Figure, Grid, Latency, Note, Params, Target
from bench.harness.latency import Latencies
from bench.harness.progress import NullProgress, Progress
from bench.harness.scenario import Scenario

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int = 3
    """Repetitions of each case."""
    quick: bool = False
    """A smoke test: everything is run, small and once; the figures mean nothing."""
    seed: int = 1
    """Of everything that is drawn: arrivals, mixes."""
    scale: float = 1.0
    """Of counts and durations: 10 for a run ten times as long."""

    def count(self, full: int, quick: int) -> int:
        """How many operations: ``full`` times the scale, or ``quick``."""
        return quick if self.quick else max(1, round(full * self.scale))

    def seconds(self, full: float, quick: float) -> float:
        """How long: ``full`` times the scale, or ``quick``."""
        return quick if self.quick else full * self.scale


class Session:
    """Collects the figures of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        plan: Plan,
        progress: Progress | None = None,
        after: float = 0.0,
    ) -> None:
        """``after``: seconds that later scenarios will take, for the time left."""
        self.scenario = scenario
        self.plan = plan
        self._progress = progress or NullProgress()
        self._after = after
        self._begun = time.monotonic()
        self._figures: dict[tuple[object, ...], Figure] = {}
        self._latencies: dict[tuple[object, ...], tuple[Latencies, bool, str, Params]] = {}
        self._notes: list[Note] = []
        self._grids: list[Grid] = []

    # what is going on

    def interleaved(self, cases: Sequence[T]) -> Iterator[T]:
        """All cases, once a round, each round begun by another one and every other one backwards.

        A shared machine is faster now and slower then: cases that are to be compared run next
        to each other, none of them is always the first, and none always follows the same one.
        """
        for number in range(self.plan.rounds):
            turn = number % len(cases) if cases else 0
            order = (*cases[turn:], *cases[:turn])
            for case in order[::-1] if number % 2 else order:
                self.step(f"round {number + 1} of {self.plan.rounds}: {case}")
                yield case

    def step(self, text: str) -> None:
        """Say what runs now."""
        self._progress.step(text, self._left())

    def _left(self) -> float:
        gone = time.monotonic() - self._begun
        # One that takes longer than was thought may take a tenth longer yet.
        return max(gone / 10, estimate(self.scenario, self.plan) - gone) + self._after

    # what comes out

    def record(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        side: str = "ours",
        better: Better = "",
        target: Target | None = None,
        params: Params | None = None,
    ) -> None:
        """One value of a figure; the values of several rounds come one after the other."""
        name = self.scenario.name
        made = Figure(name, metric, side, dict(params or {}), unit, better, (value,), target)
        old = self._figures.get(made.key)
        if old is not None:
            made = Figure(
                name, metric, side, old.params, unit, better, (*old.values, value), target
            )
        self._figures[made.key] = made

    def latency(
        self,
        took: Latencies,
        *,
        side: str = "ours",
        open_loop: bool = False,
        params: Params | None = None,
    ) -> None:
        """The latencies of one round: p50, p99 and p99.9 as figures, all of them for plots.

        A percentile is recorded only where at least ten operations were slower than it.
        """
        for share in (50, 99, 99.9):
            if took.count * (100 - share) / 100 >= 10:
                self.record(
                    f"p{share:g}",
                    took.percentile(share),
                    "ms",
                    side=side,
                    better="lower",
                    params=params,
                )
        chosen = dict(params or {})
        key = (side, open_loop, tuple(sorted(chosen.items())))
        kept = self._latencies.setdefault(key, (Latencies(), open_loop, side, chosen))
        kept[0].add(took)

    def ratio(
        self,
        metric: str,
        over: str,
        under: str,
        *,
        target: Target | None = None,
        params: Params | None = None,
    ) -> None:
        """The metric of one side over that of another, round by round, after the last round:
        both sides of a round drifted together. Left out where one side was not measured.

        Raises:
            BenchError: the sides have different numbers of rounds.
        """
        found = [self.figure(metric, side, params) for side in (over, under)]
        above, below = found
        if above is None or below is None:
            return
        if len(above.values) != len(below.values):
            raise BenchError(f"{metric}: {over} and {under} were not measured in the same rounds")
        made = Figure(
            self.scenario.name,
            metric,
            f"{over} / {under}",
            above.params,
            "×",
            above.better,
            tuple(a / b if b else 0.0 for a, b in zip(above.values, below.values, strict=True)),
            target,
        )
        self._figures[made.key] = made

    def figure(self, metric: str, side: str, params: Params | None = None) -> Figure | None:
        """What was recorded so far under this name."""
        chosen = tuple(sorted((params or {}).items()))
        return self._figures.get((self.scenario.name, metric, side, chosen))

    def note(self, text: str) -> None:
        """Something that a reader must know beside the figures."""
        note = Note(self.scenario.name, text)
        if note not in self._notes:
            self._notes.append(note)

    def grid(self, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of words."""
        made = tuple(tuple(row) for row in rows)
        self._grids.append(Grid(self.scenario.name, caption, tuple(columns), made))

    def skip(self, what: str, why: str) -> None:
        """Something was left out; ``why`` says how to have it next time."""
        self._notes.append(Note(self.scenario.name, why, skipped=what))

    # what the run takes from it

    @property
    def figures(self) -> list[Figure]:
        return list(self._figures.values())

    @property
    def latencies(self) -> list[Latency]:
        return [
            Latency(self.scenario.name, side, params, took.encode(), open_loop)
            for took, open_loop, side, params in self._latencies.values()
        ]

    @property
    def grids(self) -> list[Grid]:
        return list(self._grids)

    @property
    def notes(self) -> list[Note]:
        return list(self._notes)


def estimate(scenario: Scenario, plan: Plan) -> float:
    """About how many seconds a scenario takes under a plan."""
    if plan.quick:
        return scenario.quick_seconds
    measuring = max(0.0, scenario.seconds - scenario.quick_seconds)
    return scenario.quick_seconds + measuring * plan.scale * plan.rounds / 3
