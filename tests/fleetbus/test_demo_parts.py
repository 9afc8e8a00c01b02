"""The demo's pure parts: counting, reporting, planning, reading source."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bus.errors import FleetError
from bus.wire.heartbeat import Heartbeat
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from fleetbus.demo import ledger
from fleetbus.demo.agents import demo_agents
from fleetbus.demo.findings import Findings
from fleetbus.demo.ledger import Ledger, Start
from fleetbus.demo.report import Facts, percentile, summarise
from fleetbus.demo.scene import Scene
from fleetbus.demo.source import outline
from fleetbus.demo.work import QUERIES, Library, jobs, planned


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, 0.0),
        ([3.0], 99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 101)], 100, 100.0),
    ],
)
def test_percentile(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def scene_with_a_kill() -> tuple[Scene, list[str]]:
    """Three tasks: one done by b in peace, one rescued by a, one done by a after the kill."""
    scene = Scene((("a", 4), ("b", 4)), total=3)
    said: list[str] = []
    numbers = [scene.begin(float(at)) for at in range(3)]
    for _ in numbers:
        scene.stored()
    said.append(scene.settled(numbers[0], Result("c.1", "completed", agent="b", attempt=1), 1, 5))
    said.append(scene.killed(Heartbeat("b", "i", 1, running=1), 10.0))
    scene.beat(Heartbeat("b", "i", 2, running=4))
    said.append(scene.lost("b", "gone", 10.25))
    said.append(scene.lost("b", "gone", 10.26))
    said.append(scene.settled(numbers[1], Result("c.2", "completed", agent="a", attempt=2), 1, 11))
    said.append(scene.settled(numbers[2], Result("c.3", "completed", agent="a", attempt=1), 1, 12))
    return scene, said


def facts(stored: tuple[int, int, int] = (3, 1, 0)) -> Facts:
    return Facts(
        directory="d",
        files=1,
        bytes=1,
        stored=stored,
        duplicates_refused=0,
        starts=(
            Start(100.0, "b", "c.1"),
            Start(109.9, "b", "c.2"),
            Start(110.5, "a", "c.2"),
            Start(110.6, "a", "c.3"),
        ),
        killed_at=110.0,
    )


def test_a_kill_is_told_and_timed() -> None:
    scene, said = scene_with_a_kill()
    assert said[0] == ""
    assert said[1].startswith("b killed (SIGKILL): 1 running")
    assert "250 ms" in said[2]
    assert said[3] == ""
    assert said[4] == ""
    assert "the last of its 1 tasks done elsewhere, 1 s after the kill" in said[5]
    assert scene.rows["b"].state == "lost"
    assert scene.rows["b"].running == 0


def test_a_good_run_is_reported() -> None:
    scene, _ = scene_with_a_kill()
    report = summarise(scene, facts(), ())
    assert report.ok
    assert (report.tasks, report.results, report.lost, report.executions) == (3, 3, 0, 4)
    assert report.failover is not None
    assert report.failover.rescued == 1
    assert report.failover.lost_after == 0.25
    assert report.failover.restarted_after == 0.5
    assert report.failover.done_after == 1.0
    assert [one.share for one in report.agents] == [0.6667, 0.3333]


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ((2, 1, 0), "the broker has 2 results of 3"),
        ((3, 2, 0), "the broker has 2 results of one task"),
        ((3, 1, 1), "1 tasks are still in the queue"),
    ],
)
def test_a_broken_promise_is_not_ok(stored: tuple[int, int, int], problem: str) -> None:
    scene, _ = scene_with_a_kill()
    report = summarise(scene, facts(stored), ())
    assert not report.ok
    assert report.problems == (problem,)


def test_a_lost_task_is_not_ok() -> None:
    scene, _ = scene_with_a_kill()
    scene.begin(13.0)
    scene.stored()
    report = summarise(scene, facts(), ())
    assert not report.ok
    assert report.lost == 1


def test_a_failed_task_is_not_ok() -> None:
    scene, _ = scene_with_a_kill()
    number = scene.begin(13.0)
    scene.stored()
    bad = Result("c.4", "failed", agent="a", attempt=1, error=ErrorInfo("no luck"))
    scene.settled(number, bad, 1.0, 14.0)
    report = summarise(scene, facts((4, 1, 0)), ())
    assert not report.ok
    assert report.failures == {"c.4": "failed: no luck"}


def test_a_run_without_a_kill_is_not_ok() -> None:
    scene = Scene((("a", 4),), total=1)
    number = scene.begin(0.0)
    scene.stored()
    scene.settled(number, Result("c.1", "completed", agent="a", attempt=1), 1.0, 1.0)
    report = summarise(scene, facts((1, 1, 0)), ())
    assert report.problems == ("no agent was killed: there was no time for it",)


def test_the_work_is_repeated_when_there_is_less_than_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\n", encoding="utf-8")
    library = Library.read(tmp_path)
    once = planned(library, None)
    assert once == 4 + len(QUERIES)
    made = list(jobs(library, once * 2 + 1))
    assert len(made) == once * 2 + 1
    assert {job.capability for job in made[:once]} == {
        "words",
        "summarize",
        "hash",
        "search",
        "python",
    }
    assert [job.document.name for job in made[:1]] == ["a.py"]


def test_files_that_have_gone_end_the_work_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    library = Library.read(tmp_path)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(FleetError, match="are gone"):
        list(jobs(library, 5))


def test_findings_name_what_stands_out(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text("def one(): ...\n", encoding="utf-8")
    (tmp_path / "large.py").write_text("def one(): ...\ndef two(): ...\n", encoding="utf-8")
    (tmp_path / "copy.py").write_text("def one(): ...\n", encoding="utf-8")
    library = Library.read(tmp_path)
    findings = Findings()
    for job in jobs(library, planned(library, None)):
        if job.capability == "python":
            findings.take(job, answer(outline(job.value["text"])))
        elif job.capability == "hash":
            findings.take(job, answer({"sha256": job.value.decode()}))
    said = {one.title: one.text for one in findings.all()}
    assert said["Most functions"].startswith("large.py with 2 of 4 in 3 files")
    assert set(said["The same content twice"].partition(",")[0].split(" and ")) == {
        "copy.py",
        "small.py",
    }


def answer(value: object) -> Result:
    return Result("c.1", "completed", msgspec.json.encode(value), agent="a", attempt=1)


def test_outline_counts_what_a_module_defines() -> None:
    facts = outline(
        "import os.path\nfrom json import dumps\nfrom . import near\n"
        "class A:\n    async def one(self):\n        return 1\n\ndef two(): ...\n"
    )
    assert (facts.functions, facts.classes, facts.lines) == (2, 1, 8)
    assert (facts.longest, facts.longest_lines) == ("one", 2)
    assert facts.imports == ("json", "os")


@pytest.mark.parametrize("text", ["def (:", "\0", "(" * 5000])
def test_outline_of_what_is_not_python_says_why(text: str) -> None:
    facts = outline(text)
    assert facts.problem
    assert facts.functions == 0


def test_a_ledger_keeps_all_starts_in_order(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path, "one"), Ledger(tmp_path, "two")
    for each in (one, two):
        each.open()
    one.started("c.1")
    two.started("c.2")
    one.started("c.3")
    for each in (one, two):
        each.close()
    assert [(start.agent, start.task) for start in ledger.read(tmp_path)] == [
        ("one", "c.1"),
        ("two", "c.2"),
        ("one", "c.3"),
    ]
    with pytest.raises(ValueError, match="is not open"):
        one.started("c.4")


def test_bundled_agents_offer_every_capability() -> None:
    for agent in demo_agents():
        assert set(agent.offers) == {"words", "search", "summarize", "hash", "python"}
