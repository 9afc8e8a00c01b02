"""``fleetbus broadcast`` as a process, against real agents."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import typer

from agent_runtime import Agent
from bus import Client, codec, store
from bus.client.commands import Tally
from bus.wire.card import Card
from bus.wire.command import Reply
from coordinator import Coordinator
from fleetbus.broadcast import enough, share
from tests.conftest import Join
from tests.support.cli import Done, fleetbus

Cli = Callable[..., Awaitable[Done]]


@pytest.fixture
def cli(nats_url: str, fleet: str) -> Cli:
    return partial(fleetbus, "broadcast", FLEETBUS_URL=nats_url, FLEETBUS_FLEET=fleet)


def agent(name: str, site: str = "default") -> Agent:
    made = Agent(name, site=site)

    @made.command("index")
    async def index(name: str, depth: int = 1) -> dict[str, object]:
        if made.site == "broken":
            raise OSError("no disk")
        return {"name": name, "depth": depth}

    return made


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("10%", 0.1), ("0.5%", 0.005), ("100%", 1.0)]
)
def test_share(text: str, value: float) -> None:
    found = share("--limit", text)
    assert found == pytest.approx(value)
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "0%", "101%", "1.5", "nan%", "%"])
def test_share_refuses(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--limit"):
        share("--limit", text)


@pytest.mark.parametrize(
    ("good", "wanted", "expected"),
    [
        (100, 1.0, True),
        (99, 1.0, False),
        (95, 0.95, True),
        (94, 0.95, False),
        (7, 0.07, True),
        (3, 3, True),
        (2, 3, False),
    ],
)
def test_enough(good: int, wanted: float, expected: bool) -> None:
    tally = Tally({str(i) for i in range(100)})
    for i in range(good):
        tally.take(Reply(str(i), "ok"))
    assert enough(tally, wanted) is expected


async def test_everybody_answers(cli: Cli, coordinator: Coordinator, join: Join) -> None:
    for name in ("a1", "a2", "a3"):
        await join(agent(name))
    done = await cli("index", "name=main", "depth=3")
    assert done.status == 0
    lines = sorted(done.out.splitlines())
    assert [line.split()[:2] for line in lines] == [["a1", "ok"], ["a2", "ok"], ["a3", "ok"]]
    assert '{"name":"main","depth":3}' in lines[0]
    assert re.fullmatch(r"finished 3 / 3 in [\d.]+ m?s", done.err.strip())


async def test_those_who_did_not_are_named(cli: Cli, client: Client, join: Join) -> None:
    await join(agent("good"))
    await join(agent("bad", site="broken"))
    # In the registry and not there: its lease has not run out, and no coordinator finds it lost.
    key = f"{client.bus.subjects.registry_keys}ghost"
    await store.publish(client.bus, key, codec.encode(Card("ghost", "i1")))
    done = await cli("index", "name=x", "--timeout", "1s", "--display", "failed")
    assert done.status == 1
    assert done.out.startswith("bad failed OSError: no disk")
    assert len(done.out.splitlines()) == 1
    assert "failed 1: bad\n" in done.err
    assert "outstanding 1: ghost\n" in done.err
    assert "finished 2 / 3 in" in done.err
    done = await cli("index", "name=x", "-t", "1s", "--expect", "30%", "--json")
    assert done.status == 0
    *replies, last = [json.loads(line) for line in done.out.splitlines()]
    assert {one["agent"]: one["state"] for one in replies} == {"good": "ok", "bad": "failed"}
    assert last["outstanding"] == ["ghost"]
    assert last["failed"] == ["bad"]
    assert (last["expected"], last["answered"], last["ok"]) == (3, 2, 1)
    assert last["finished"] is True


async def test_select_limit_and_batch(cli: Cli, coordinator: Coordinator, join: Join) -> None:
    for name in ("a1", "a2", "a3"):
        await join(agent(name, site="oslo"))
    await join(agent("b1", site="berlin"))
    done = await cli("ping", "--select", "site=oslo", "--batch", "2", "-d", "none")
    assert (done.status, done.out) == (0, "")
    assert "finished 3 / 3" in done.err
    done = await cli("ping", "--limit", "50%", "--seed", "4", "--json")
    assert json.loads(done.out.splitlines()[-1])["expected"] == 2


async def test_unknown_verb_names_the_known_ones(
    cli: Cli, coordinator: Coordinator, join: Join
) -> None:
    await join(agent("a1"))
    done = await cli("indx")
    assert done.status == 1
    assert "a1 rejected unknown verb 'indx'; known are" in done.out
    assert "index" in done.out


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (("ping",), 5, "has no agent"),
        (("two words",), 2, "command name 'two words'"),
        (("ping", "name"), 2, "'name' is not name=value"),
        (("ping", "--limit", "200%"), 2, "--limit '200%'"),
        (("ping", "--expect", "most"), 2, "--expect 'most'"),
        (("ping", "--select", "a="), 2, "selector 'a='"),
    ],
)
async def test_what_cannot_be_sent(
    cli: Cli, arguments: tuple[str, ...], status: int, problem: str
) -> None:
    done = await cli(*arguments)
    assert done.status == status
    assert problem in " ".join(done.err.replace("│", " ").split())
