"""``fleetbus golden`` as a process, with real agents on a real server."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_runtime import Agent
from bus import Client, codec, store
from bus.client import queue
from bus.testing import eventually
from bus.wire.event import Event
from coordinator import Coordinator
from fleetbus.golden import regex
from fleetbus.golden.cases import Case
from fleetbus.golden.kept import LIMIT
from fleetbus.golden.load import Origin
from fleetbus.golden.rounds import Rounds, Wanted
from fleetbus.golden.run import Questions, Runner
from tests.conftest import Join
from tests.support.cli import Done, fleetbus, started
from tests.support.processes import Workers
from tests.support.repositories import MadeRepository

Cli = Callable[..., Awaitable[Done]]

CASES = """
greets:
  capability: label
  input: {text: hello}
  equals: greeting
asks:
  capability: label
  input: {text: "who?"}
"""


@pytest.fixture
def cli(nats_url: str, fleet: str) -> Cli:
    return partial(fleetbus, "golden", FLEETBUS_URL=nats_url, FLEETBUS_FLEET=fleet)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "golden"
    made.mkdir()
    (made / "label.yaml").write_text(CASES)
    return made


def labeller(name: str, drifted: bool = False, version: str = "1.0.0") -> Agent:
    agent = Agent(name, labels={"drifted": str(drifted).lower()})

    @agent.capability("label", version=version)
    async def label(text: str) -> str:
        if text == "who?":
            return "doubt\x1b[2J" if drifted else "question"
        return "greeting"

    return agent


async def left(client: Client) -> list[tuple[str, int, str]]:
    """Tasks that are not done."""
    return [one async for one in queue.waiting(client.bus)]


async def test_all_agree(
    cli: Cli, client: Client, coordinator: Coordinator, join: Join, folder: Path
) -> None:
    for name in ("w1", "w2", "w3"):
        await join(labeller(name))
    done = await cli("run", "--dir", str(folder), "--repeat", "2")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert [line.split()[:3] for line in lines[2:5]] == [
        [name, "100%", "(4/4)"] for name in ("w1", "w2", "w3")
    ]
    assert "label 1.0.0" in lines[2]
    assert "12 of 12 answers passed: 2 cases on 3 instances in" in done.err
    # Of the lowest priority; and they are done.
    ended = await queue.recent(client.bus, 100)
    assert len(ended) == 12
    assert await left(client) == []
    report = await cli("report", "--json")
    assert report.status == 0
    assert report.json()["ok"] is True


async def test_the_one_that_diverges_is_named(
    cli: Cli, coordinator: Coordinator, join: Join, folder: Path
) -> None:
    for name in ("w1", "w2"):
        await join(labeller(name))
    await join(labeller("w3", drifted=True, version="1.1.0"))
    done = await cli("run", "--dir", str(folder))
    assert done.status == 1
    # Without any expectation, and without obeying what it says.
    assert "\x1b" not in done.out
    assert (
        'w3 divergent asks: "doubt\\u001b[2J", 2 peers have "question" '
        "(version 1.1.0, theirs 1.0.0" in done.out
    )
    assert "label is there in versions 1.0.0 on 2, 1.1.0 on 1" in done.out
    assert "w3 diverges from peers" in done.err
    kept = await cli("report")
    assert kept.status == 1
    assert kept.out == done.out
    assert " ago, cases from " in kept.err
    as_json = (await cli("report", "--json")).json()
    assert [(one["agent"], one["divergent"]) for one in as_json["agents"]] == [
        ("w1", 0),
        ("w2", 0),
        ("w3", 1),
    ]
    assert as_json["capabilities"] == {"label": {"1.0.0": 2, "1.1.0": 1}}
    # Asked alone, nobody contradicts it.
    alone = await cli("run", "asks", "--dir", str(folder), "--select", "drifted=true", "--json")
    assert alone.status == 0
    assert [one["agent"] for one in alone.json()["agents"]] == ["w3"]


async def test_two_that_differ_are_split(
    cli: Cli, coordinator: Coordinator, join: Join, folder: Path
) -> None:
    await join(labeller("w1"))
    await join(labeller("w2", drifted=True))
    done = await cli("run", "--dir", str(folder), "--capability", "label")
    assert done.status == 1
    assert "asks split" in done.out
    assert '  w1: "question"' in done.out
    assert "the instances are split over asks" in done.err


async def test_every_kind_of_expectation_and_of_failure(
    cli: Cli, coordinator: Coordinator, join: Join, tmp_path: Path
) -> None:
    agent = Agent("w1", slots=4)

    @agent.capability("look")
    async def look(text: str) -> dict[str, Any]:
        return {"text": text, "score": 0.71, "took": id(text), "items": [{"id": 1}, {"id": 2}]}

    @agent.capability("say")
    async def say(text: str) -> str:
        return text

    @agent.capability("upper")
    async def upper(data: bytes) -> bytes:
        return b"\xff"

    @agent.capability("boom")
    async def boom() -> None:
        raise ValueError("no \x1b such thing")

    await join(agent)
    (tmp_path / "a.yaml").write_text(
        """
subset-good: {capability: look, input: {text: a}, subset: {text: a, items: [{id: 1}, {id: 2}]}}
subset-bad: {capability: look, input: {text: a}, subset: {text: a, items: [{id: 1}]}}
near-good: {capability: look, input: {text: a}, ignore: [took, items],
            approx: {value: {text: a, score: 0.7}, abs: 0.02}}
near-bad: {capability: look, input: {text: a}, ignore: [took, items],
           approx: {value: {text: a, score: 0.6}, rel: 0.02}}
regex-good: {capability: say, input: {text: "abc def"}, regex: "c d"}
regex-json: {capability: look, input: {text: a}, regex: '"score":0\\.7\\d'}
regex-bad: {capability: say, input: {text: "abc def"}, regex: '\\Ac d'}
regex-slow: {capability: say, input: {text: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"},
             regex: '(a+)+$'}
equals-bad: {capability: look, input: {text: a}, equals: {text: a}}
fails: {capability: boom}
rejected: {capability: say, input: {texts: a}}
no-text: {capability: upper, input: x}
"""
    )
    done = await cli("run", "--dir", str(tmp_path), "--json", timeout=40)
    assert done.status == 1, done.err
    [one] = done.json()["agents"]
    found = {f["case"]: (f["kind"], f["reason"]) for f in one["findings"]}
    assert found.pop("subset-bad") == ("failed", "items: 2 items, expected 1 item")
    assert found.pop("near-bad") == ("failed", "score: 0.71, expected 0.6")
    assert found.pop("regex-bad") == ("failed", '"abc def", expected to match "\\\\Ac d"')
    assert "more than 2 s: simplify the regex" in found.pop("regex-slow")[1]
    assert found.pop("equals-bad")[0] == "failed"
    assert found.pop("fails") == ("error", "failed: ValueError: no \x1b such thing")
    assert found.pop("rejected")[1].startswith("rejected: ")
    # Octets in need octets; JSON is rejected.
    assert found.pop("no-text")[0] == "error"
    assert found == {}
    assert (one["asked"], one["passed"], one["failed"], one["error"]) == (12, 4, 5, 3)
    people = await cli("run", "fails", "--dir", str(tmp_path))
    assert "\x1b" not in people.out
    assert "w1 error fails: failed: ValueError: no \\x1b such thing" in people.out
    enough = await cli("run", "--dir", str(tmp_path), "--min-pass", "33%", timeout=40)
    assert enough.status == 0


async def test_one_that_disagrees_with_itself_is_unstable(
    cli: Cli, coordinator: Coordinator, join: Join, folder: Path
) -> None:
    for name in ("w1", "w2", "w3"):
        await join(labeller(name))
    agent = Agent("w4")
    count = itertools.count()

    @agent.capability("label")
    async def label(text: str) -> str:
        return "greeting" if text == "hello" else f"answer {next(count)}"

    await join(agent)
    done = await cli("run", "--dir", str(folder), "--repeat", "3")
    assert done.status == 0, done.err
    assert 'w4 unstable asks: "answer 1", it also answered "answer 0"' in done.out
    assert "divergent" not in done.out
    assert "1 unstable instance:" in done.err


async def test_one_that_dies_is_not_waited_for(
    cli: Cli,
    client: Client,
    coordinator: Coordinator,
    nats_url: str,
    fleet: str,
    tmp_path: Path,
) -> None:
    cases = tmp_path / "cases"
    cases.mkdir()
    (cases / "a.yaml").write_text(
        """
a-first: {capability: nap, input: {key: a, seconds: 0}, regex: '^a by ', peers: false}
b-dies: {capability: killer, input: {key: b}, select: agent=mortal, timeout: 2}
c-last: {capability: nap, input: {key: c, seconds: 0}, regex: '^c by ', peers: false, timeout: 2}
"""
    )
    async with Workers(tmp_path, nats_url, fleet) as workers:
        await workers.agents("mortal", "well")
        done = await cli("run", "--dir", str(cases), "--json", timeout=30)
    assert done.status == 1
    mortal, well = done.json()["agents"]
    assert (mortal["agent"], mortal["passed"], mortal["missing"]) == ("mortal", 1, 2)
    assert [(f["case"], f["kind"]) for f in mortal["findings"]] == [
        ("b-dies", "missing"),
        ("c-last", "missing"),
    ]
    assert mortal["findings"][0]["reason"] == "no answer within 2 s"
    assert (well["passed"], well["asked"]) == (2, 2)
    assert await left(client) == []


async def test_one_that_is_silent_is_given_up(
    cli: Cli, client: Client, coordinator: Coordinator, join: Join, tmp_path: Path
) -> None:
    agent = Agent("w1")

    @agent.capability("sleepy")
    async def sleepy() -> None:
        await asyncio.sleep(60)

    await join(agent)
    case = "{capability: sleepy, timeout: 0.3}\n"
    (tmp_path / "a.yaml").write_text("".join(f"c{i}: {case}" for i in range(6)))
    done = await cli("run", "--dir", str(tmp_path), "--json")
    assert done.status == 1
    [one] = done.json()["agents"]
    assert one["missing"] == 6
    assert [f["reason"] for f in one["findings"]] == [
        *["no answer within 0.3 s"] * 3,
        *["not asked: 3 questions in a row were not answered"] * 3,
    ]
    assert await left(client) == []


async def test_ctrl_c_leaves_no_task_behind(
    client: Client,
    coordinator: Coordinator,
    join: Join,
    nats_url: str,
    fleet: str,
    tmp_path: Path,
) -> None:
    running: set[str] = set()

    def sleeper(name: str) -> Agent:
        agent = Agent(name)

        @agent.capability("sleepy")
        async def sleepy() -> None:
            running.add(name)
            try:
                await asyncio.sleep(60)
            finally:
                running.discard(name)

        return agent

    for name in ("w1", "w2", "w3"):
        await join(sleeper(name))
    (tmp_path / "a.yaml").write_text("one: {capability: sleepy}\ntwo: {capability: sleepy}\n")
    place: dict[str, Any] = {"FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": fleet}
    command = ("golden", "run", "--dir", str(tmp_path), "--outstanding", "2")
    async with started(*command, **place) as golden:
        await eventually(lambda: len(running) == 2, 15)
        assert [(name, priority) for name, priority, _ in await left(client)] == [("sleepy", 2)] * 2
        assert await golden.end(signal.SIGINT) == 130
        assert "Traceback" not in golden.text
    assert await left(client) == []
    await eventually(lambda: not running)
    assert (await fleetbus("golden", "report", **place)).status == 1


@pytest.mark.parametrize("agent", ["w1", "gone"])
async def test_cancelled_at_any_moment_it_leaves_no_task_behind(
    client: Client, coordinator: Coordinator, join: Join, agent: str
) -> None:
    await join(labeller("w1"))
    cases = tuple(Case(f"c{i}", "label", {"text": "hello"}) for i in range(50))
    asked = 0
    for turn in range(30):
        runner = Runner(client, lambda name: True, outstanding=4)
        work = asyncio.create_task(runner.run([Questions(agent, cases)] * 8))
        # No time is right: it is cancelled before, between and after what it waits for.
        for _ in range(turn):
            await asyncio.sleep(0)
        await asyncio.sleep(turn * 0.0005)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        asked += len(runner.checks)
        assert await left(client) == []
    assert (asked > 0) is (agent == "w1")


async def test_again_and_again(
    client: Client,
    coordinator: Coordinator,
    join: Join,
    nats_url: str,
    fleet: str,
    folder: Path,
) -> None:
    await join(labeller("w1"))
    place: dict[str, Any] = {"FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": fleet}
    command = ("golden", "run", "--dir", str(folder), "--every", "0.5")
    async with started(*command, **place) as golden:

        def runs(text: str) -> int:
            return sum(text in line for line in golden.lines)

        await eventually(lambda: runs("2 of 2 answers passed: 2 cases on 1 instance ") >= 2, 20)
        await join(labeller("w2"))
        await eventually(lambda: runs("4 of 4 answers passed: 2 cases on 2 instances") >= 1, 20)
        (folder / "broken.yaml").write_text("one: [")
        await golden.says("broken.yaml:")
        await golden.says("going on with the last good cases")
        before = runs("4 of 4 answers passed")
        await eventually(lambda: runs("4 of 4 answers passed") > before, 20)
        (folder / "broken.yaml").write_text("x: {capability: label, input: {text: a}, equals: b}")
        await golden.says('w1 failed x: "greeting", expected "b"')
        assert await golden.end(signal.SIGINT) == 130
        assert "Traceback" not in golden.text
    assert await left(client) == []


async def test_cases_come_from_a_commit(
    cli: Cli, coordinator: Coordinator, join: Join, tmp_path: Path
) -> None:
    await join(labeller("w1"))
    with MadeRepository(tmp_path / "repo") as made:
        commit = made.commit(
            {"golden/a.yaml": CASES, "golden/more/b.yaml": "x: [", "global.yaml": "a: 1"}
        )
    (tmp_path / "repo" / "golden").mkdir()
    (tmp_path / "repo" / "golden" / "c.yaml").write_text("not committed: [")
    done = await cli("run", "--repo", str(tmp_path / "repo"), "--json")
    assert done.status == 0, done.err
    assert done.json()["commit"] == commit
    assert done.json()["cases"] == 2
    shown = await cli("report")
    assert f"cases from {tmp_path / 'repo'} at main at {commit[:12]}" in shown.err
    missing = await cli("run", "--repo", str(tmp_path / "repo"), "--ref", "nope")
    assert missing.status == 5
    assert "nope" in missing.err


async def test_a_broken_commit_keeps_the_last_good_cases(
    coordinator: Coordinator, join: Join, nats_url: str, fleet: str, tmp_path: Path
) -> None:
    await join(labeller("w1"))
    place: dict[str, Any] = {"FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": fleet}
    with MadeRepository(tmp_path / "repo", bare=True) as made:
        good = made.commit({"golden/a.yaml": CASES})
        command = ("golden", "run", "--repo", str(made.path), "--every", "0.5")
        async with started(*command, **place) as golden:
            await golden.says("2 of 2 answers passed")
            made.commit({"golden/a.yaml": "greets: {capability: x.y}"})
            await golden.says("golden/a.yaml:1: case 'greets': capability")
            await golden.says(f"going on with the last good cases of commit {good[:12]}")
            made.commit({"golden/a.yaml": "asks: {capability: label, input: {text: a}}"})
            await golden.says("1 of 1 answers passed: 1 case on 1 instance ")
            assert await golden.end(signal.SIGINT) == 130


async def test_a_run_that_cannot_be_made_is_told_and_the_next_one_is_tried(
    coordinator: Coordinator,
    join: Join,
    nats_url: str,
    fleet: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await join(labeller("w1"))
    script, broken = tmp_path / "search.py", tmp_path / "broken.py"
    shutil.copy(regex.SCRIPT, script)
    broken.write_text("raise SystemExit\n")
    monkeypatch.setattr(regex, "SCRIPT", str(script))
    text = ""

    async def says(said: str) -> None:
        """From now on."""
        nonlocal text
        capsys.readouterr()
        text = ""

        def seen() -> bool:
            nonlocal text
            text += "".join(capsys.readouterr())
            assert not running.done(), text
            return said in text

        await eventually(seen, 20)

    with MadeRepository(tmp_path / "repo", bare=True) as made:
        made.commit({"golden/a.yaml": CASES.replace("equals", "regex")})
        wanted = Wanted(Origin(str(made.path)), every=0.2)
        running = asyncio.create_task(Rounds(wanted).run(nats_url, fleet))
        try:
            await says("2 of 2 answers passed")
            script.rename(tmp_path / "aside")
            broken.rename(script)
            await says("error: this run was not finished: ")
            assert f"{script} ended by itself" in text
            (tmp_path / "aside").rename(script)
            await says("2 of 2 answers passed")
            made.path.rename(tmp_path / "moved")
            await says("going on with the last good cases")
            await says("2 of 2 answers passed")
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=20)
        assert running.cancelled()


async def test_broken_files_are_told_all_at_once(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one:\n  capability: c\n  equal: 1\ntwo: 5\n")
    (tmp_path / "b.yaml").write_text("x: {\n")
    (tmp_path / "c.yml").write_text("")
    done = await cli("run", "--dir", str(tmp_path), FLEETBUS_URL="nats://127.0.0.1:1")
    assert done.status == 2
    for said in (
        f"{tmp_path}/a.yaml:3: case 'one': unknown key 'equal': did you mean equals?",
        f"{tmp_path}/a.yaml:4: case 'two': is 5 (an integer), not a mapping",
        f"{tmp_path}/b.yaml:",
        f"{tmp_path}/c.yml: files end in .yaml here: rename it to {tmp_path}/c.yaml",
    ):
        assert said in done.err
    assert len(done.err.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (("run", "--dir", "no/such"), 2, "no/such: No such file or directory: name the folder"),
        (("run", "--repo", "no/such"), 5, "there is no such folder"),
        (("run", "--repo", ".", "--dir", "."), 2, "give --repo or --dir, not both"),
        (("run", "--min-pass", "95"), 2, "--min-pass '95' is not such as 95%"),
        (("run", "--every", "often"), 2, "'often' is neither seconds nor"),
        (("run", "--select", "a="), 2, "selector 'a='"),
        (("report",), 1, "has no report on golden cases: make one with 'fleetbus golden run'"),
    ],
)
async def test_what_cannot_be_done(
    cli: Cli, arguments: tuple[str, ...], status: int, problem: str
) -> None:
    done = await cli(*arguments)
    assert done.status == status
    assert problem in " ".join(done.err.replace("│", " ").split())


async def test_nobody_to_ask(cli: Cli, coordinator: Coordinator, folder: Path) -> None:
    done = await cli("run", "--dir", str(folder))
    assert done.status == 1
    assert "no instance was asked: none offers a capability of these cases" in done.err
    unknown = await cli("run", "gretes", "--dir", str(folder))
    assert unknown.status == 2
    assert "no golden case 'gretes': did you mean 'greets'?" in unknown.err


async def test_big_answers_make_no_big_report(
    cli: Cli, client: Client, coordinator: Coordinator, join: Join, tmp_path: Path
) -> None:
    def talker(name: str) -> Agent:
        agent = Agent(name)

        @agent.capability("talk")
        async def talk() -> str:
            return name * 1_000_000

        return agent

    for name in ("w1", "w2"):
        await join(talker(name))
    (tmp_path / "a.yaml").write_text("one: {capability: talk, regex: x}\n")
    done = await cli("run", "--dir", str(tmp_path))
    assert done.status == 1
    assert len(done.out) < 3000
    assert "w1 failed one: 2000000 characters, more than the 100000" in done.out
    assert "one split" in done.out
    subjects = client.bus.subjects
    event = subjects.event("golden.finished", subjects.fleet)
    message = await store.last(client.bus, subjects.events_stream, event)
    assert message is not None
    assert len(message.data) < LIMIT
    kept = codec.decode(Event, message.data)
    assert (kept.kind, kept.subject_id) == ("golden.finished", subjects.fleet)
    assert json.loads(message.data)["data"]["splits"] == 1
