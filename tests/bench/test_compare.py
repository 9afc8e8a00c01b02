"""What counts as a change and what as noise."""

from __future__ import annotations

import pytest

from bench.harness.figures import Fact
from bench.report.compare import compare, judge, table
from tests.support.bench import figure, run

Values = tuple[float, ...]


@pytest.mark.parametrize(
    ("before", "after", "better", "verdict"),
    [
        ((100, 105, 110), (120, 125, 130), "higher", "better"),
        ((100, 105, 110), (120, 125, 130), "lower", "worse"),
        ((120, 125, 130), (100, 105, 110), "higher", "worse"),
        ((120, 125, 130), (100, 105, 110), "lower", "better"),
        ((120, 125, 130), (100, 105, 110), "", "changed"),
        ((100, 105, 110), (109, 125, 130), "higher", "noise"),  # they overlap
        ((100.0, 100.1, 100.2), (101.0, 101.1, 101.2), "higher", "noise"),  # under 2 %
        ((100, 105), (120, 125, 130), "higher", "unknown"),
        ((100,), (300,), "higher", "unknown"),
        ((0.0,), (0.0,), "lower", "noise"),
        ((0.0, 0.0, 0.0), (1.0, 1.0, 2.0), "lower", "worse"),
        ((5.0, 5.0, 5.0), (0.0, 0.0, 0.0), "lower", "better"),
    ],
)
def test_judge(before: Values, after: Values, better: str, verdict: str) -> None:
    made = [figure(values=values, better=better) for values in (before, after)]
    assert judge(*made) == verdict


def test_compare_matches_by_name_and_tells_what_has_no_counterpart() -> None:
    before = run(
        figure(params={"outstanding": 1}),
        figure(params={"outstanding": 8}),
        facts=(Fact("processor", "old"), Fact("system", "same")),
    )
    after = run(
        # The same parameters in another order and as an equal number are the same figure.
        figure(params={"outstanding": 1.0}, values=(200.0, 210.0, 220.0)),
        figure(params={"outstanding": 64}),
        facts=(Fact("processor", "new"), Fact("system", "same"), Fact("load", "0")),
    )
    made = compare(before, after)
    (change,) = made.changes
    assert change.verdict == "unknown"  # an absolute figure, and the processor is another
    assert change.change == pytest.approx(210 / 110 - 1)
    assert [one.params["outstanding"] for one in made.gone] == [8]
    assert [one.params["outstanding"] for one in made.new] == [64]
    assert [(old.value, new.value) for old, new in made.circumstances] == [("old", "new")]


def test_the_greatest_change_comes_first() -> None:
    before = run(figure(side="a"), figure(side="b"), figure(side="c", values=(0.0, 0.0, 0.0)))
    after = run(
        figure(side="a", values=(150.0, 160.0, 170.0)),
        figure(side="b", values=(20.0, 21.0, 22.0)),
        figure(side="c", values=(1.0, 1.0, 1.0)),
    )
    rows = table(compare(before, after).changes).rows
    assert [row[1] for row in rows] == ["tasks/s, c", "tasks/s, b", "tasks/s, a"]
    assert [row[4] for row in rows] == ["from 0", "-80.9%", "+45.5%"]


def test_between_two_machines_only_ratios_are_judged() -> None:
    sides = ("ours", "ours / floor")
    before = run(*(figure(side=side, unit="×" if "/" in side else "ms") for side in sides))
    after = run(
        *(
            figure(side=side, unit="×" if "/" in side else "ms", values=(1.0, 2.0, 3.0))
            for side in sides
        ),
        facts=(Fact("processor", "another"),),
    )
    assert [one.verdict for one in compare(before, after).changes] == ["unknown", "worse"]
    assert [one.verdict for one in compare(before, before).changes] == ["noise", "noise"]
