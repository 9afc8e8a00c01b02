"""Tables, markdown and pictures of a run."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.harness.figures import Failure, Figure, Grid, Latency, Note, at_least
from bench.harness.latency import Latencies
from bench.harness.scenario import Percentiles, Plot, Scenario
from bench.harness.session import Session
from bench.report.layout import number, tables, targets
from bench.report.markdown import render, report
from bench.report.plots import _colours, draw
from tests.support.bench import figure, run


async def nothing(_: Session) -> None:
    """A scenario that measures nothing."""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00001234, "0.000012"),
        (0.012345, "0.0123"),
        (2.1, "2.1"),
        (999.4, "999"),
        (12_492.4, "12,492"),
        (-1500, "-1,500"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_a_metric_of_several_sides_is_one_table() -> None:
    found = tables(
        [
            figure(side=side, params={"outstanding": load, "storage": "file"}, values=values)
            for load in (1, 512)
            for side, values in (("ours", (10.0, 11.0, 12.0)), ("floor", (20.0,)))
        ]
        + [figure(side="ours / floor", params={"outstanding": 512, "storage": "file"}, unit="×")]
    )
    (table,) = found
    assert table.caption == "tasks/s — storage file"
    assert table.columns == ("outstanding", "ours", "floor", "ours / floor")
    assert table.rows == [
        ("1", "11 (10 – 12)", "20", ""),
        ("512", "11 (10 – 12)", "20", "110 × (100 – 120)"),
    ]


def test_percentiles_stand_side_by_side_and_single_figures_in_a_list() -> None:
    found = tables(
        [
            figure(metric="p50", unit="ms", values=(1.0,)),
            figure(metric="p99", unit="ms", values=(9.0,)),
            figure(metric="p50", unit="ms", values=(2.0,), side="floor"),
            figure(metric="p50", unit="×", values=(0.5,), side="ours / floor"),
            figure(metric="idle agent", unit="MB", values=(33.0, 34.0)),
        ]
    )
    latency, alone = found
    assert latency.columns == ("side", "p50", "p99")
    assert latency.rows == [("ours", "1", "9"), ("floor", "2", "")]
    assert alone.rows == [
        ("idle agent, ours", "33.5 MB", "33 – 34"),
        ("p50, ours / floor", "0.5 ×", ""),
    ]


def test_targets_say_whether_they_are_met() -> None:
    table = targets(
        run(
            figure(values=(0.9, 0.8, 0.7), target=at_least(0.85), unit="×"),
            figure(values=(0.9,), target=at_least(0.85), unit="×", side="other"),
            figure(side="without"),
        )
    )
    assert [row[2:] for row in table.rows] == [
        ("0.8 ×", "0.7 – 0.9", "≥ 0.85", "**no**"),
        ("0.9 ×", "", "≥ 0.85", "yes"),
    ]


def test_rendered_columns_are_aligned_and_pipes_escaped() -> None:
    (table,) = tables(
        [figure(side="a|b", params={"of": text}) for text in ("x", "yyyy")]
        + [figure(side="c", params={"of": "x"})]
    )
    lines = render(table).splitlines()
    assert "a\\|b" in lines[2]
    assert len({len(line) for line in lines[2:]}) == 1
    assert lines[3].endswith(":|")


SCENARIO = Scenario(
    name="dispatch",
    summary="Durable tasks.",
    run=nothing,
    seconds=1,
    quick_seconds=1,
    plots=(
        Plot("lines", "Tasks", "tasks/s", "outstanding", {"storage": "file"}, log_x=True),
        Plot("bars", "Tasks", "tasks/s", "storage", kind="bars", log_y=True),
        Plot("none", "Nothing", "calls/s", "outstanding"),
        Percentiles("tail", "Latency", {"storage": "file"}),
    ),
)


def example() -> tuple[Figure, ...]:
    return tuple(
        figure(side=side, params={"outstanding": load, "storage": storage})
        for side in ("ours", "lean floor")
        for load in (1, 64)
        for storage in ("file", "memory")
    )


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_pictures(tmp_path: Path, kind: str) -> None:
    took = Latencies.of(number / 1000 for number in range(1, 2000)).encode()
    made = run(
        *example(),
        latencies=(Latency("dispatch", "ours", {"storage": "file"}, took, open_loop=False),),
    )
    assert kind in ("svg", "png")
    drawn = draw(made, [SCENARIO], tmp_path, "svg" if kind == "svg" else "png")
    assert drawn == {"dispatch": [f"lines.{kind}", f"bars.{kind}", f"tail.{kind}"]}
    for name in drawn["dispatch"]:
        content = (tmp_path / name).read_bytes()
        if kind == "svg":
            text = "".join(ElementTree.fromstring(content).itertext())
            assert "ours" in text
        else:
            assert content.startswith(b"\x89PNG")
    again = tmp_path / "again"
    draw(made, [SCENARIO], again, "svg" if kind == "svg" else "png")
    for name in drawn["dispatch"]:
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_report() -> None:
    made = run(
        *example(),
        figure(side="ours / lean floor", values=(0.5,), unit="×", target=at_least(0.85)),
        grids=(Grid("dispatch", "Who keeps what", ("system", "stored"), (("ours", "yes"),)),),
        notes=(Note("dispatch", "Mind the disk."), Note("dispatch", "get one", "redis")),
        failures=(Failure("call", "OSError: no", "trace"),),
    )
    text = report(made, [SCENARIO], {"dispatch": ["lines.svg"]})
    for part in (
        "# fleetbus bench, 2026-11-21",
        "- **processor**: 2 × Abacus",
        "## Targets",
        "**Who keeps what**\n\n| system | stored |",
        "**no**",
        "**call failed:** OSError: no",
        "## dispatch\n\nDurable tasks.",
        "- Mind the disk.",
        "- **redis was left out:** get one",
        "![lines](lines.svg)",
    ):
        assert part in text, part


def test_a_quick_run_is_held_to_nothing() -> None:
    made = run(figure(values=(0.5,), unit="×", target=at_least(0.85)), quick=True)
    text = report(made, [SCENARIO], {})
    assert "A quick run" in text
    assert "## Targets" not in text
    assert made.missed() == []


def test_ours_has_the_same_colour_wherever_it_stands() -> None:
    assert _colours(["a", "ours", "b"])["ours"] == _colours(["ours"])["ours"]
    assert len(set(_colours(["a", "ours", "b"]).values())) == 3
