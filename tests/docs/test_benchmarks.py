"""What is said of speed is what was measured: docs/benchmarks/result.json."""

from __future__ import annotations

import re
from statistics import median

import pytest

from bench.harness.figures import load
from bench.harness.scenario import scenario
from bench.report.markdown import report
from tests.docs.tables import DOCS

FOLDER = DOCS / "benchmarks"
RESULT = load(FOLDER / "result.json")
README = (DOCS.parent / "README.md").read_text(encoding="utf-8")
TABLE = README.split("<!-- bench -->")[1].split("<!-- /bench -->")[0]


def measured(name: str, metric: str, side: str, params: dict[str, object]) -> float:
    """The median of the one figure that is meant."""
    found = [
        figure
        for figure in RESULT.figures
        if (figure.scenario, figure.metric, figure.side) == (name, metric, side)
        and params.items() <= figure.params.items()
        and figure.params.get("storage", "file") == "file"
        and figure.params.get("sync", "default") == "default"
        and (name != "dispatch" or figure.params.get("agents") == 2)
    ]
    assert len(found) == 1, (name, metric, side, params, found)
    return median(found[0].values)


HALF, FULL = {"outstanding": 64}, {"outstanding": 512}
CLAIMS = [
    ("durable tasks/s, 512 outstanding | {:,.0f}", ("dispatch", "tasks/s", "ours"), FULL),
    ("can do with | {:.2f} ×", ("dispatch", "tasks/s", "ours / lean floor"), FULL),
    ("the same messages | {:.2f} ×", ("dispatch", "tasks/s", "ours / full floor"), FULL),
    ("nobody routes | {:.2f} ×", ("dispatch", "tasks/s", "ours / work queue"), FULL),
    ("| lean floor | {:.2f} ×", ("dispatch", "p50", "ours / lean floor"), {"outstanding": 1}),
    ("| bare nats request | {:.1f} ×", ("call", "p50", "ours / bare request"), {"outstanding": 1}),
    ("| Celery + Redis | {:.0f} ×", ("peers", "tasks/s", "ours / Celery + Redis"), HALF),
    ("typed | {:.1f} ×", ("peers", "tasks/s", "ours / FastStream"), HALF),
    ("restarted | {:.2f} s, none lost", ("failover", "last restart", "ours"), {"killed": "agent"}),
    (
        "longest gap | {:.2f} s",
        ("failover", "longest gap", "ours"),
        {"killed": "1 of 2 coordinators"},
    ),
    (
        "agent process; start to first heartbeat | {:.1f} MB",
        ("start", "resident memory", "agent"),
        {},
    ),
    ("MB; {:.1f} s", ("start", "first heartbeat after", "agent"), {}),
    ("its cold start | {:.0f} µs", ("scale", "decision, p50", "any agent"), {"agents": 100_000}),
    ("µs / {:.0f} MB", ("scale", "coordinator RSS", "ours"), {"agents": 100_000}),
    ("MB, {:.2f} core", ("scale", "processor share", "coordinator"), {"agents": 100_000}),
    ("core / {:.0f} s", ("scale", "cold start", "ours"), {"agents": 100_000}),
]


@pytest.mark.parametrize(("text", "figure", "params"), CLAIMS)
def test_the_readme_says_what_was_measured(
    text: str, figure: tuple[str, str, str], params: dict[str, object]
) -> None:
    said = text.format(measured(*figure, params)).replace(",", " ").replace("  ", " ")
    assert said in TABLE.replace(",", " ").replace("  ", " ")


def test_the_report_is_that_of_the_result() -> None:
    scenarios = [scenario(name) for name in RESULT.scenarios]
    written = (FOLDER / "report.md").read_text(encoding="utf-8")
    without_pictures = re.sub(r"\n*^!\[.*\]\(.*\)$", "", written, flags=re.MULTILINE)
    assert without_pictures.split() == report(RESULT, scenarios, {}).split()
