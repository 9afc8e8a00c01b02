"""Commands to things."""

from __future__ import annotations

import asyncio

import pytest

from bus import Bus, Client
from bus.testing import eventually
from bus.wire import Reply
from coordinator.things.commands import handle
from tests.coordinator.things.conftest import Make
from tests.coordinator.things.helpers import Beats, count, events, there
from tests.support.mqtt import Device, echo

pytestmark = pytest.mark.usefixtures("coordinator")

ONE = "agent=relay-1"


async def ask(client: Client, verb: str, select: str = "", **options: object) -> dict[str, Reply]:
    """The last answer of each."""
    args = options.pop("args", None)
    timeout = options.pop("timeout", 5)
    broadcast = client.broadcast(verb, args, select=select, timeout=timeout)  # type: ignore[arg-type]  # of tests
    return {reply.agent: reply async for reply in broadcast}


async def answer(device: Device, **reply: object) -> dict[str, object]:
    """Have a device answer the next command that it is sent."""
    (command,) = await eventually(lambda: device.bodies("command"))
    device.publish("reply", {"command": command["command"], **reply})
    return command


async def test_a_command_of_its_own_is_answered_in_private(
    client: Client, bus: Bus, device: Make
) -> None:
    relay = await device("relay-1", commands=("reset",))
    await there(client, "relay-1")
    asking = asyncio.create_task(ask(client, "reset", "agent=relay-1", args={"hard": True}))
    command = await answer(relay, state="ok", output="done", elapsed_ms=4)
    assert command["verb"] == "reset"
    assert command["args"] == {"hard": True}
    reply = (await asking)["relay-1"]
    assert (reply.state, reply.output, reply.elapsed_ms) == ("ok", "done", 4)

    async def forgotten() -> bool:
        return await count(bus, bus.subjects.thing_records_stream) == 1

    await eventually(forgotten)


async def test_accepted_is_followed_by_the_last_answer(client: Client, device: Make) -> None:
    relay = await device("relay-1", commands=("reset",))
    await there(client, "relay-1")
    broadcast = client.broadcast("reset", select="agent=relay-1", timeout=5)

    async def collect() -> list[str]:
        return [reply.state async for reply in broadcast]

    collecting = asyncio.create_task(collect())
    await answer(relay, state="accepted")
    await answer(relay, state="failed", error="no power")
    assert await collecting == ["accepted", "failed"]


async def test_an_unknown_verb_is_rejected_with_the_known_ones(
    client: Client, device: Make
) -> None:
    await device("relay-1", commands=("reset",))
    await there(client, "relay-1")
    reply = (await ask(client, "explode", ONE))["relay-1"]
    assert reply.state == "rejected"
    assert "cancel, config, drain, ping, reset, resume, status" in reply.error


async def test_what_the_record_answers(client: Client, device: Make) -> None:
    relay = await device("relay-1", version="lamp-fw 1.2")
    await there(client, "relay-1")
    task = await client.submit("blink", {})
    await eventually(lambda: task.id in relay.held)
    assert (await ask(client, "ping", ONE))["relay-1"].output == "pong"
    status = (await ask(client, "status", ONE))["relay-1"].output
    assert (status["running"], status["tasks"], status["link"]) == (1, [task.id], "mqtt")
    config = (await ask(client, "config", ONE))["relay-1"].output
    assert config["hash"]
    canceled = await ask(client, "cancel", ONE, args={"task_id": task.id})
    assert canceled["relay-1"].output is True
    assert (await ask(client, "cancel", ONE, args={"task_id": "no.1"}))["relay-1"].output is False
    assert (await ask(client, "cancel", ONE, args={"task_id": 5}))["relay-1"].state == "rejected"
    await eventually(lambda: relay.bodies("cancel"))


async def test_drained_takes_no_more_until_it_is_told_to(
    client: Client, bus: Bus, device: Make
) -> None:
    beats = await Beats().listen(bus)
    await device("relay-1", handle=echo)
    await there(client, "relay-1")
    assert (await ask(client, "drain", ONE))["relay-1"].output == "draining"
    await eventually(lambda: beats.last.state == "draining")
    task = await client.submit("blink", 7)
    heard = len(beats.heard)
    await eventually(lambda: len(beats.heard) > heard)
    assert not task.finished.done()
    assert (await ask(client, "resume", ONE))["relay-1"].output == "ready"
    assert await task.result(timeout=5) == 7
    assert await events(bus, "relay-1") == ["joined", "draining", "resumed"]


@pytest.mark.parametrize(
    ("select", "meant"),
    [
        ("", {"relay-1", "relay-2"}),
        ("site=berlin", {"relay-1"}),
        ("cap=dim", {"relay-2"}),
        ("agent=relay-2", {"relay-2"}),
        ("kind=lamp", {"relay-1"}),
    ],
)
async def test_only_who_is_meant_answers(
    client: Client, device: Make, select: str, meant: set[str]
) -> None:
    await device("relay-1", site="berlin", labels={"kind": "lamp"})
    await device("relay-2", capabilities=("dim",))
    await there(client, "relay-1", "relay-2")
    assert set(await ask(client, "ping", select)) == meant


async def test_a_reply_that_nobody_waits_for_is_dropped(client: Client, device: Make) -> None:
    relay = await device("relay-1", commands=("reset",))
    other = await device("relay-2", commands=("reset",))
    await there(client, "relay-1", "relay-2")
    broadcast = client.broadcast("reset", select="agent=relay-1", timeout=5)

    async def collect() -> list[tuple[str, str]]:
        return [(reply.agent, reply.state) async for reply in broadcast]

    collecting = asyncio.create_task(collect())
    (command,) = await eventually(lambda: relay.bodies("command"))
    assert command["command"] == handle(broadcast.id)
    # Another device knows the command's name, and still was not asked.
    other.publish("reply", {"command": command["command"], "state": "ok"})
    other.publish("reply", {"command": "a b", "state": "ok"})
    relay.publish("reply", {"command": command["command"], "state": "ok"})
    assert await collecting == [("relay-1", "ok")]
