"""``fleetbus task`` as a process, against a real fleet."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from agent_runtime import Agent, Task
from bus import Client
from bus.testing import eventually
from bus.topology import REPEAT_LEVEL
from coordinator import Coordinator
from tests.conftest import Join
from tests.support.cli import Done, fleetbus, started


def workers() -> Agent:
    agent = Agent("w1", slots=8)

    @agent.capability("greet")
    async def greet(name: str, times: int = 1) -> str:
        return " ".join([f"hello {name}"] * times)

    @agent.capability("upper")
    async def upper(data: bytes) -> bytes:
        return data.upper()

    @agent.capability("boom")
    async def boom() -> None:
        raise ValueError("no such thing")

    @agent.capability("steps")
    async def steps(task: Task) -> dict[str, int]:
        task.progress(fraction=0.5, message="half way")
        return {"done": 2}

    @agent.capability("sleepy")
    async def sleepy() -> None:
        await asyncio.sleep(60)

    return agent


Cli = Callable[..., Awaitable[Done]]


@pytest.fixture
def cli(nats_url: str, fleet: str) -> Cli:
    """``await cli("task", ...)`` runs the command line on this test's fleet."""
    return partial(fleetbus, FLEETBUS_URL=nats_url, FLEETBUS_FLEET=fleet)


@pytest.fixture
async def working(coordinator: Coordinator, join: Join) -> None:
    await join(workers())


@pytest.mark.usefixtures("working")
async def test_submit_waits_and_prints_the_output(cli: Cli) -> None:
    plain, as_json = await asyncio.gather(
        cli("task", "submit", "greet", "name=Ada", "times=2"),
        cli("task", "submit", "greet", '--input={"name":"Bo"}', "-p", "0", "--json"),
    )
    assert (plain.status, plain.out) == (0, "hello Ada hello Ada\n")
    assert "completed on w1" in plain.err
    found = as_json.json()
    assert as_json.status == 0
    assert found["state"] == "completed"
    assert found["output"] == "hello Bo"
    assert (found["agent"], found["attempt"], found["error"]) == ("w1", 1, None)


@pytest.mark.usefixtures("working")
async def test_bytes_in_and_out(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "in.bin"
    file.write_bytes(b"shout \x01")
    done = await cli("task", "call", "upper", "--bytes", str(file))
    assert (done.status, done.out) == (0, "SHOUT \x01")


@pytest.mark.usefixtures("working")
async def test_a_task_that_does_not_complete_is_one_line_and_a_status(cli: Cli) -> None:
    failed, rejected, called = await asyncio.gather(
        cli("task", "submit", "boom"),
        cli("task", "submit", "greet", "name=5", "--json"),
        cli("task", "call", "boom"),
    )
    assert failed.status == called.status == 1
    assert failed.out == ""
    assert "ValueError: no such thing" in failed.err
    assert len(failed.err.splitlines()) == 1
    assert rejected.status == 5
    assert rejected.json()["state"] == "rejected"
    assert rejected.json()["error"]["field"] == "name"


@pytest.mark.usefixtures("working")
async def test_progress_is_on_stderr(cli: Cli) -> None:
    done = await cli("task", "submit", "steps", "--progress")
    assert done.status == 0
    assert done.json() == {"done": 2}
    assert "w1: 50% half way" in done.err


@pytest.mark.usefixtures("working")
async def test_many_tasks_from_standard_input(cli: Cli) -> None:
    lines = "".join(f'{{"name":"{i}"}}\n' for i in range(40))
    done = await cli("task", "submit", "greet", "-", "--json", stdin=f"{lines}\n")
    assert done.status == 0
    found = [json.loads(line) for line in done.out.splitlines()]
    assert {one["output"] for one in found} == {f"hello {i}" for i in range(40)}
    assert all(one["output"] == f"hello {one['line'] - 1}" for one in found)
    assert "40 completed in" in done.err


@pytest.mark.usefixtures("working")
async def test_lines_that_fail_do_not_stop_the_others(cli: Cli) -> None:
    done = await cli("task", "submit", "greet", "-", stdin='{"name":"a"}\nnonsense\n{"name":1}')
    assert done.status == 1
    assert len(done.out.splitlines()) == 2
    assert 'completed "hello a"' in done.out
    assert "line 2: not JSON" in done.err
    assert "1 completed, 1 invalid, 1 rejected in" in done.err


async def test_without_waiting_it_prints_ids_that_get_and_cancel_take(
    cli: Cli, client: Client
) -> None:
    one, many = await asyncio.gather(
        cli("task", "submit", "greet", "name=Ada", "--no-wait"),
        cli("task", "submit", "greet", "-", "--no-wait", stdin="1\n2\n"),
    )
    assert one.status == many.status == 0
    task_id = one.out.strip()
    ids = [task_id, *many.out.split()]
    assert len(set(ids)) == 3
    assert [await client.get(one) for one in ids] == ["submitted"] * 3
    waiting = await cli("task", "get", task_id)
    assert (waiting.status, waiting.out) == (4, "submitted\n")
    canceled = await cli("task", "cancel", *ids, "--reason", "enough")
    assert canceled.status == 0
    assert canceled.out == "".join(f"{one} canceled\n" for one in ids)
    got, again, unknown = await asyncio.gather(
        cli("task", "get", task_id),
        cli("task", "cancel", task_id, "no.such"),
        cli("task", "get", "no.such"),
    )
    assert got.status == 1
    assert "canceled: " in got.err
    assert "enough" in got.err
    assert again.status == 1
    assert "no.such" in again.err
    assert unknown.status == 1


async def test_list_counts_what_waits(cli: Cli, client: Client, coordinator: Coordinator) -> None:
    await client.submit_many("orphan", [1, 2, 3], priority=2)
    done = await cli("task", "list", "--ids", "--json")
    found = done.json()
    assert found["lanes"] == [
        {"capability": "orphan", "priority": 2, "waiting": 3, "held": 0, "served": False}
    ]
    assert {one["task"] for one in found["ids"]} == {f"{client.id}.{i}" for i in (1, 2, 3)}
    people = await cli("task", "list", "--ids")
    assert "no agent offers it" in people.out
    assert f"{client.id}.2" in people.out
    other = await cli("task", "list", "-c", "another")
    assert "no task waits" in other.err


@pytest.mark.usefixtures("working")
async def test_list_counts_what_is_held_and_shows_the_latest_results(
    cli: Cli, client: Client
) -> None:
    for i in range(5):
        await (await client.submit("greet", {"name": str(i)})).result(timeout=5)
    await client.submit("sleepy")

    async def held() -> bool:
        done = await cli("task", "list", "-c", "sleepy", "--json")
        return bool([one for one in done.json()["lanes"] if one["held"] == 1])

    await eventually(held)
    done = await cli("task", "list", "--results", "3", "--json")
    assert [one["output"] for one in done.json()["results"]] == ["hello 4", "hello 3", "hello 2"]
    assert "completed" in (await cli("task", "list", "-n", "2")).out


@pytest.mark.usefixtures("working")
async def test_dead_tasks_are_listed_and_retried(cli: Cli, client: Client, join: Join) -> None:
    from agent_runtime import Retry

    agent = Agent("weak")
    broken = True

    @agent.capability("weak")
    async def weak() -> str:
        if broken:
            raise Retry("still broken", after=0.0)
        return "well"

    await join(agent)
    first = await client.submit("weak", max_attempts=2)
    assert (await first.outcome(timeout=10)).state == "failed"
    listed = await cli("task", "dead", "list", "--json")
    (dead,) = [json.loads(line) for line in listed.out.splitlines()]
    assert (dead["task"], dead["capability"], dead["attempt"]) == (first.id, "weak", 2)
    assert "still broken" in (await cli("task", "dead", "list", "-c", "weak")).out
    broken = False
    retried = await cli("task", "dead", "retry", "--all")
    assert retried.status == 0
    old, new = retried.out.split()
    assert old == first.id

    async def well() -> bool:
        return (await cli("task", "get", new)).out == "well\n"

    await eventually(well)
    assert "no dead tasks" in (await cli("task", "dead", "list")).err
    assert (await cli("task", "dead", "retry", first.id)).status == 1


@pytest.mark.usefixtures("working")
async def test_schedules(cli: Cli, client: Client) -> None:
    if await client.bus.api_level() < REPEAT_LEVEL:
        pytest.skip("needs nats-server 2.14")
    later = await cli("task", "submit", "greet", "name=Ada", "--at", "+0.3s", "--wait")
    assert (later.status, later.out) == (0, "hello Ada\n")
    once, every = await asyncio.gather(
        cli("task", "submit", "greet", "name=a", "--at", "2099-12-24T08:00"),
        cli("task", "submit", "greet", "name=b", "--every", "6h", "--json"),
    )
    ids = {once.out.strip(), every.json()["schedule"]}
    listed = await cli("task", "schedules", "list", "--json")
    assert {json.loads(line)["id"] for line in listed.out.splitlines()} == ids
    assert "@every 21600s" in (await cli("task", "schedules", "list")).out
    removed = await cli("task", "schedules", "remove", *sorted(ids))
    assert removed.status == 0
    assert "no schedules" in (await cli("task", "schedules", "list")).err
    assert (await cli("task", "schedules", "remove", "no.such")).status == 1


async def test_a_wait_that_is_too_long(cli: Cli, nats_url: str, fleet: str) -> None:
    done = await cli("task", "submit", "nobody", "--timeout", "0.2s")
    assert done.status == 4
    assert "it goes on" in done.err
    done = await cli("task", "submit", "nobody", "--require-agent")
    assert done.status == 5
    async with started("task", "submit", "nobody", "-u", nats_url, "-f", fleet) as run:

        async def stored() -> bool:
            lanes = (await cli("task", "list", "--json")).json()["lanes"]
            return bool(lanes and lanes[0]["waiting"] == 2)

        await eventually(stored)
        assert await run.end(signal.SIGINT) == 130
        assert "the task goes on: fleetbus task get" in run.text
        assert "Traceback" not in run.text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("submit", "greet", "name"), "'name' is not name=value"),
        (("submit", "greet", "a=1", "--input", "2"), "not several of them"),
        (("submit", "greet", "--timeout", "soon"), "'soon' is neither seconds"),
        (("submit", "greet", "--at", "soon"), "'soon' is neither a time"),
        (("submit", "greet", "--at", "+1s", "--every", "1s"), "--at or --every"),
        (("submit", "greet", "-", "--key", "k"), "- goes with none of"),
        (("submit", "gr.eet"), "capability name 'gr.eet' is not allowed"),
        (("call", "greet", "--select", "a="), "selector 'a='"),
        (("get", "x"), "task id"),
        (("dead", "retry"), "or --all"),
    ],
)
async def test_wrong_usage_is_status_2(cli: Cli, arguments: tuple[str, ...], problem: str) -> None:
    done = await cli("task", *arguments)
    assert done.status == 2
    assert problem in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err


async def test_a_fleet_that_is_not_there(nats_url: str) -> None:
    for command in (("submit", "x"), ("list",), ("dead", "list"), ("schedules", "list")):
        done = await fleetbus("task", *command, "-u", nats_url, "-f", "nowhere")
        assert done.status == 3
        assert "fleet 'nowhere' has no streams here" in done.err
