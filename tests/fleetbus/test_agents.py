"""``fleetbus agents``: the table, one agent, and the roster behind both."""

from __future__ import annotations

import json

import pytest

from agent_runtime import Agent
from bus import Bus, Client
from bus.errors import InvalidSelector
from bus.testing import eventually
from bus.wire import Card, Heartbeat
from coordinator import Coordinator
from fleetbus.roster import Roster, Row
from tests.conftest import Join
from tests.e2e.test_task_path import echo_agent
from tests.support.cli import fleetbus, started


def beat(**fields: object) -> Heartbeat:
    return Heartbeat("a", "i", 1, **fields)  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    ("load", "heard", "state"),
    [
        (None, 0.0, "silent"),
        (beat(next_in=1.0), 99.5, "ready"),
        (beat(next_in=1.0), 98.1, "ready"),
        (beat(next_in=1.0), 97.9, "late"),
        (beat(next_in=1.0, state="draining"), 99.5, "draining"),
        (beat(next_in=0.0, state="stopped"), 1.0, "stopped"),
    ],
)
def test_state_of_a_row(load: Heartbeat | None, heard: float, state: str) -> None:
    assert Row(Card("a", "i"), load, heard).state(now=100.0) == state


@pytest.mark.parametrize(
    ("listening", "state"), [(0.1, "quiet"), (119.0, "quiet"), (121, "silent")]
)
def test_a_device_that_speaks_seldom_is_not_silent_yet(listening: float, state: str) -> None:
    assert Row(Card("a", "i", idle=60.0), None, 100.0).state(now=100.0 + listening) == state


async def test_roster_follows_the_fleet(bus: Bus, coordinator: Coordinator, join: Join) -> None:
    async with Roster(bus, "cap=echo") as roster:
        assert await roster.heard(1.0)
        assert roster.rows() == []
        runtime = await join(echo_agent("a2"))
        await join(echo_agent("a1"))
        await join(Agent("other"))
        await eventually(lambda: len(roster.rows()) == 2)
        assert await roster.heard(3.0)
        assert [row.card.agent for row in roster.rows()] == ["a1", "a2"]
        assert roster.row("other") is None
        await runtime.shutdown(0.1)
        await eventually(lambda: [row.card.agent for row in roster.rows()] == ["a1"])
    async with Roster(bus) as roster:
        assert [row.card.agent for row in roster.rows()] == ["a1", "other"]


async def test_roster_refuses_a_bad_selector(bus: Bus) -> None:
    with pytest.raises(InvalidSelector):
        Roster(bus, "a in (")


async def test_roster_survives_garbage(bus: Bus, client: Client, join: Join) -> None:
    await join(echo_agent("a1"))
    async with Roster(bus) as roster:
        subjects = bus.subjects
        for data in (b"", b"\xff\x00", b"[]", b'{"agent":1}'):
            client.bus.send(subjects.heartbeat("s", "a1"), data)
            client.bus.send(subjects.advert("a1"), data)
        await client.bus.flush()
        await bus.flush()
        assert await roster.heard(3.0)
        assert [row.card.agent for row in roster.rows()] == ["a1"]
        assert bus.dropped > 0


async def test_table_and_json(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(echo_agent("a1", slots=3))
    await join(Agent("b1", site="berlin"))
    await client.call("echo", {"text": "x"}, timeout=5)
    where = ("-u", nats_url, "-f", fleet)
    shown = await fleetbus("agents", *where)
    assert shown.status == 0
    header, _, first, second = shown.out.splitlines()
    assert header.split()[:4] == ["agent", "site", "state", "capabilities"]
    assert first.split()[:5] == ["a1", "default", "ready", "echo", "0/3"]
    assert second.split()[:3] == ["b1", "berlin", "ready"]
    assert "\x1b" not in shown.out
    rows = (await fleetbus("agents", "--json", "--select", "cap=echo", *where)).json()
    assert [row["agent"] for row in rows] == ["a1"]
    assert rows[0]["state"] == "ready"
    assert rows[0]["running"] == 0
    assert rows[0]["done"] == 1
    assert rows[0]["rss"] > 0


async def test_nobody_there(nats_url: str, fleet: str) -> None:
    done = await fleetbus("agents", "-u", nats_url, "-f", fleet)
    assert done.status == 0
    assert done.out == ""
    assert f"fleet '{fleet}' has no agent" in done.err
    assert (await fleetbus("agents", "--json", "-u", nats_url, "-f", fleet)).json() == []


async def test_show(nats_url: str, fleet: str, client: Client, join: Join) -> None:
    agent = Agent("a1", labels={"gpu": "a100"})

    @agent.capability("shout", version="2.1.0", tags=("text",))
    async def shout(text: str) -> str:
        """Make it loud."""
        return text.upper()

    await join(agent)
    # Options count on either side of 'show'.
    shown = await fleetbus("agents", "-u", nats_url, "-f", fleet, "show", "a1")
    assert shown.status == 0
    for part in ("gpu=a100", "shout 2.1.0", "Make it loud.", '"text"', "ready"):
        assert part in shown.out
    full = (await fleetbus("agents", "show", "a1", "--json", "-u", nats_url, "-f", fleet)).json()
    assert full["card"]["capabilities"][0]["input_schema"]["properties"]["text"]
    assert full["load"]["running"] == 0
    wrong = await fleetbus("agents", "show", "a2", "-u", nats_url, "-f", fleet)
    assert wrong.status == 1
    assert "has no agent 'a2'; similar are a1" in wrong.err


async def test_watch_follows(nats_url: str, fleet: str, client: Client, join: Join) -> None:
    where = ("-u", nats_url, "-f", fleet)
    async with started("agents", "--watch", "--json", *where) as run:
        await run.says("[]")
        await join(echo_agent("a1"))

        def seen() -> bool:
            rows = json.loads(run.lines[-1])
            return bool(rows) and rows[0]["agent"] == "a1" and rows[0]["state"] == "ready"

        await eventually(seen)
        assert await run.end() == 130


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--select", "a in ("], 2, "selector 'a in ('"),
        (["--fleet", "no-such"], 3, "fleet 'no-such' has no streams here"),
        (["--fleet", "a.b"], 2, "fleet name 'a.b' is not allowed"),
        (["show", "a b"], 2, "agent name 'a b' is not allowed"),
    ],
)
async def test_what_is_wrong_is_one_line(
    nats_url: str, fleet: str, arguments: list[str], status: int, said: str
) -> None:
    done = await fleetbus("agents", "-u", nats_url, "-f", fleet, *arguments)
    assert done.status == status
    assert said in done.err
    assert done.err.count("\n") == 1
