"""``fleetbus config`` as a person and as a script use it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_runtime import Agent
from bus import Bus
from bus.client import config
from bus.wire.config import ConfigHead, ConfigLayer
from coordinator import Coordinator
from fleetbus.config.assignments import assigned, laid, without
from tests.conftest import Join
from tests.support.cli import Done, fleetbus, started
from tests.support.repositories import MadeRepository

Run = Callable[..., Coroutine[Any, Any, Done]]


@pytest.fixture
def run(nats_url: str, fleet: str) -> Run:
    """The command ``config`` in the test's fleet."""

    def made(*arguments: str) -> Coroutine[Any, Any, Done]:
        return fleetbus("config", *arguments, FLEETBUS_URL=nats_url, FLEETBUS_FLEET=fleet)

    return made


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[MadeRepository]:
    with MadeRepository(tmp_path / "repo") as made:
        made.commit({"global.yaml": "# all\nmodel: small\n", "instances/a1.yaml": "x: 1\n"}, "One")
        yield made


class Settings(msgspec.Struct, frozen=True):
    model: str = "tiny"


def agent(agent_id: str) -> Agent[Settings]:
    made = Agent(agent_id, config=Settings)

    @made.on_config("model")
    def check(new: str, old: str | None) -> None:
        if new == "bad":
            raise ValueError("there is no such model")

    return made


def test_assignments() -> None:
    made = assigned(["llm.model=small", "llm.top:=[1,2]", 'hosts."a.b=c".port=80', "gone=null"])
    assert made == {
        "llm": {"model": "small", "top": [1, 2]},
        "hosts": {"a.b=c": {"port": 80}},
        "gone": None,
    }
    assert laid({"llm": {"a": 1, "b": 2}, "x": 1}, {"llm": {"a": None}, "x": {"y": 1}}) == {
        "llm": {"a": None, "b": 2},
        "x": {"y": 1},
    }
    assert without({"a": {"b": {"c": 1}}, "d": 1}, ("a", "b", "c")) == {"d": 1}


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        (["x"], "'x' is not KEY=VALUE"),
        (["=1"], "'=1' is not KEY=VALUE"),
        (["a=1", "a.b=2"], "'a.b' and 'a' exclude each other"),
        (["a:=nope"], "'a:=nope' is not JSON"),
        (["a=@/no/such/file"], "No such file"),
    ],
)
def test_assignments_that_are_none(pairs: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        assigned(pairs)


async def test_set_get_and_explain_without_git(
    run: Run, coordinator: Coordinator, join: Join
) -> None:
    await join(agent("a1"))
    assert (await run("set", "global", "model=small", "n:=1")).status == 0
    assert (await run("set", "group.10-x", "--selector", "agent=a1", "model=large")).status == 0
    listed = (await run("get", "--json")).json()
    assert [one["name"] for one in listed["layers"]] == ["global", "group.10-x"]
    assert (await run("get", "global")).out == "model: small\nn: 1\n"
    assert (await run("get", "group.10-x", "model")).json() == "large"
    explained = (await run("explain", "a1", "--json")).json()
    model = next(one for one in explained["values"] if one["key"] == "model")
    assert (model["value"], model["layer"]) == ("large", "group.10-x")
    assert [(one["layer"], one["value"]) for one in model["hides"]] == [("global", "small")]
    assert explained["report"]["hash"] == explained["hash"]
    assert (await run("set", "group.10-x", "--delete")).status == 0
    shown = await run("explain", "a1", "model")
    assert shown.out.startswith('model = "small"\n    layer global, ')
    assert (await run("explain", "a1", "no.such")).status == 1
    history = (await run("history", "--json")).json()
    assert [(one["key"], one["deleted"]) for one in history] == [
        ("layer.group.10-x", True),
        ("layer.group.10-x", False),
        ("layer.global", False),
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("set", "globe", "a=1"), 2, "write global, fleet"),
        (("set", "global", "a..b=1"), 2, "a name is missing at character 3"),
        (("set", "global"), 2, "give KEY=VALUE"),
        (("set", "global", "--selector", "x", "a=1"), 2, "for group layers"),
        (("set", "group.10-x", "--selector", "in (", "a=1"), 2, "character"),
        (("set", "global", "--unset", "nope"), 5, "does not set 'nope'"),
        (("set", "global", "--delete"), 5, "there is no layer global"),
        (("get", "fleet"), 5, "there is no layer fleet"),
        (("explain", "a b"), 2, "agent name"),
        (("sync", "--repo", "/no/such/folder"), 5, "there is no such folder"),
        (("sync", "--watch", "--dry-run"), 2, "exclude each other"),
        (("rollback",), 5, "nothing was synced from Git yet"),
        (("diff", "bus", "main", "--repo", "/tmp"), 5, "not a Git repository"),
        (("override", "a=1", "--select", "", "--ttl", "soon"), 2, "soon"),
        (("clear", "a..b", "--select", ""), 2, "a name is missing"),
        (("drift", "--select", "in ("), 2, "selector"),
    ],
)
async def test_what_cannot_be_done_says_what_to_do(
    run: Run, coordinator: Coordinator, arguments: tuple[str, ...], status: int, said: str
) -> None:
    done = await run(*arguments)
    assert done.status == status, done
    assert said in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err


async def test_sync_drift_and_repair(
    run: Run, coordinator: Coordinator, join: Join, bus: Bus, repository: MadeRepository
) -> None:
    await join(agent("a1"))
    await join(agent("a2"))
    place = str(repository.path)
    dry = await run("sync", "--repo", place, "--dry-run")
    assert (dry.status, dry.out) == (0, "write global\nwrite instance.a1\n")
    assert (await config.current(bus)).revisions == {}
    synced = (await run("sync", "--repo", place, "--json")).json()
    assert synced["changed"] == ["global", "instance.a1"]
    assert (await run("drift", "--wait", "5s", "--quiet")).status == 0

    bad = repository.commit({"global.yaml": "model: bad\n"}, "Two")
    diff = (await run("diff", "bus", "main", "--json")).json()
    assert [one["agents"] for one in diff["effects"]] == [["a1"], ["a2"]]
    assert diff["effects"][0]["differences"][0]["new"] == "bad"
    # The repository of the last sync is the one that is meant.
    assert (await run("sync")).status == 0
    drift = await run("drift")
    assert drift.status == 1
    assert "there is no such model" in drift.out
    assert f"config parity 0.0 % (0 of 2 at {bad[:12]})" in drift.out
    explained = await run("explain", "a1", "model")
    assert f"layer global, global.yaml:1, commit {bad[:12]}, Ada" in explained.out
    assert "the agent rejects this" in explained.err

    back = await run("rollback")
    assert back.out.startswith(f"back from {bad[:12]} to ")
    assert (await run("drift", "--wait", "5s", "--quiet")).status == 0
    refused = await run("sync")
    assert (refused.status, "was rolled back from" in refused.err) == (5, True)

    assert (await run("set", "global", "model=mine")).status == 5
    assert (await run("set", "global", "model=mine", "--force")).status == 0
    adopted = await run("sync", "--ref", synced["commit"]["id"], "--adopt")
    assert "-model: small\n+model: mine\n" in adopted.out
    good = repository.commit({"global.yaml": "model: good\n"}, "Three")
    mended = await run("sync")
    assert "put back: global (by " in mended.err
    report = (await run("drift", "--wait", "5s", "--json")).json()
    assert (report["drift"], report["parity"], report["commit"]) == (False, 1.0, good)


async def test_back_and_further_back(
    run: Run, coordinator: Coordinator, bus: Bus, repository: MadeRepository
) -> None:
    commits = [(await config.current(bus)).layers.commit]
    for number in (1, 2, 3):
        repository.commit({"global.yaml": f"model: m{number}\n"})
        done = await run("sync", "--repo", str(repository.path), "--json")
        commits.append(done.json()["commit"]["id"])
    for expected in (commits[2], commits[1]):
        back = (await run("rollback", "--json")).json()
        assert back["to"] == expected
        head = (await config.current(bus)).layers.head
        assert head is not None
        # The tip of the branch is what no sync goes to by itself.
        assert (head.commit, head.rolled_back_from) == (expected, commits[3])
    none = await run("rollback")
    assert (none.status, "name one with --to" in none.err) == (5, True)


async def test_overrides_are_shown_and_are_no_drift(
    run: Run, coordinator: Coordinator, join: Join
) -> None:
    runtime = await join(agent("a1"))
    await join(agent("a2"))
    assert (await run("override", "model=bad", "-s", "agent=a1", "--ttl", "1m")).status == 1
    assert (await run("override", "model=large", "-s", "agent=a1", "--ttl", "1m")).status == 0
    assert runtime.agent.config == Settings("large")
    drift = await run("drift", "--json")
    assert drift.status == 0
    verdicts = {one["agent"]: one["verdict"] for one in drift.json()["agents"]}
    assert verdicts == {"a1": "overridden", "a2": "in-sync"}
    assert "override by " in (await run("explain", "a1", "model")).out
    assert (await run("clear", "-s", "agent=a1")).status == 0
    assert runtime.agent.config == Settings()


async def test_check_needs_no_bus(repository: MadeRepository) -> None:
    place = str(repository.path)
    good = await fleetbus("config", "check", "--repo", place, FLEETBUS_URL="nats://127.0.0.1:1")
    assert (good.status, "is good for fleet dev" in good.out) == (0, True)
    repository.commit({"global.yaml": "a: 1\na: 2\n"})
    bad = await fleetbus("config", "check", "--repo", place, "--json")
    assert (bad.status, bad.json()["good"]) == (5, False)
    assert any("global.yaml" in one["file"] for one in bad.json()["problems"])


async def test_a_watch_ends_with_ctrl_c(
    nats_url: str, fleet: str, coordinator: Coordinator, repository: MadeRepository, bus: Bus
) -> None:
    arguments = ("config", "sync", "--repo", str(repository.path), "--watch", "--interval", "1s")
    async with started(*arguments, FLEETBUS_URL=nats_url, FLEETBUS_FLEET=fleet) as watching:
        await watching.says("is in force: global")
        repository.commit({"global.yaml": "model: [\n"})
        await watching.says("trouble: ")
        repository.commit({"global.yaml": "model: next\n"}, "Mended")
        await watching.says("(Mended) is in force")
        assert await watching.end() == 130
    assert "Traceback" not in watching.text


async def test_silence_and_garbage_are_told(run: Run, join: Join, bus: Bus) -> None:
    await join(agent("a1"))
    await config.put(bus, "global", ConfigLayer({"model": "small"}), 0)
    await bus.request(f"{bus.subjects.config_keys}layer.global", b"garbage")
    got = await run("get")
    assert "layer.global does not count" in got.err
    # Registered and not there, and no coordinator finds it lost.
    card = json.dumps({"agent": "ghost", "incarnation": "i"}).encode()
    await bus.request(f"{bus.subjects.registry_keys}ghost", card)
    drift = await run("drift", "--timeout", "1s", "--json")
    assert drift.status == 1
    verdicts = {one["agent"]: one["verdict"] for one in drift.json()["agents"]}
    assert verdicts == {"a1": "in-sync", "ghost": "silent"}


async def test_an_agent_that_is_behind_says_since_when(run: Run, bus: Bus) -> None:
    """It answers for itself, as an agent of another make would that follows slowly."""
    from bus import codec
    from bus.config.merge import digest
    from bus.transport import Inbound
    from bus.wire.command import Command, Reply
    from bus.wire.config import ConfigReport

    def answer(message: Inbound) -> None:
        command = codec.decode(Command, message.data)
        report = ConfigReport(digest({"x": 1}), "one", versions={"echo": "1"})
        bus.send(message.reply, codec.encode(Reply("slow", "ok", command.id, report)))

    card = json.dumps({"agent": "slow", "incarnation": "i"}).encode()
    await bus.request(f"{bus.subjects.registry_keys}slow", card)
    await bus.listen(bus.subjects.command_all, answer)
    for number in (1, 2):
        state = await config.current(bus)
        layer = ConfigLayer({"x": number})
        await config.commit(bus, {"global": layer}, ConfigHead(f"c{number}"), state)
    found = (await run("drift", "--json")).json()["agents"][0]
    assert (found["verdict"], found["commit"]) == ("behind", "one")
    at = [one.at_s async for one in config.history(bus)]
    assert found["since"] == pytest.approx(at[-1], abs=1e-3)


async def test_check_reads_the_golden_cases_too(repository: MadeRepository) -> None:
    repository.commit({"golden/x.yaml": "case:\n  capability: x\n  equal: 1\n"})
    bad = await fleetbus("config", "check", "--repo", str(repository.path))
    assert (bad.status, "golden/x.yaml:" in bad.err) == (5, True)
