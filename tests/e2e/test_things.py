"""Things, coordinators and the server as processes, killed and started again."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.sites.server import free_ports
from bus import Client
from bus.errors import TaskRejected
from bus.leash import leashed
from bus.server import NatsServer
from bus.server_config import ServerConfig, Thing
from bus.testing import eventually, fresh_fleet
from bus.testing import fleet as own_fleet
from bus.wire import Reply
from coordinator import Coordinator
from tests.coordinator.things.helpers import count, events, there
from tests.support.mqtt import Device, echo, slowly
from tests.support.processes import Workers

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def site(**config: Any) -> AsyncIterator[tuple[NatsServer, str, int, Client]]:
    """A server with an MQTT listener, a fleet and a client."""
    (port,) = free_ports(1)
    made = ServerConfig(mqtt_port=port, **config)
    async with (
        NatsServer(config=made) as server,
        own_fleet(server.url) as fleet,
        Client.connect(server.url, fleet) as client,
    ):
        yield server, fleet, port, client


def at_least(wanted: int, count: Callable[[], int]) -> bool:
    return count() >= wanted


async def test_two_coordinators_killed_by_turns_store_each_result_once(tmp_path: Path) -> None:
    """A hundred tasks over three devices; a coordinator dies every half second."""
    async with AsyncExitStack() as stack:
        server, fleet, port, client = await stack.enter_async_context(site())
        workers = await stack.enter_async_context(
            Workers(tmp_path, server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT="2")
        )
        alive = [await workers.coordinator("c1"), await workers.coordinator("c2")]
        ran: Counter[str] = Counter()

        def handle(body: dict[str, Any]) -> dict[str, Any] | None:
            ran[body["task"]] += 1
            return slowly(0.02)(body)

        def ended() -> int:
            return sum(one.finished.done() for one in handles)

        for number in range(3):
            device = Device(port, fleet, f"relay-{number}", handle=handle, every=1)
            await stack.enter_async_context(device)
        await there(client, "relay-0", "relay-1", "relay-2")
        handles = await client.submit_many("blink", [{"n": n} for n in range(100)])
        kills = 0
        for number in range(4):
            wanted = 20 * (number + 1)
            await eventually(partial(at_least, wanted, ended), 20)
            await alive[number % 2].kill()
            kills += 1
            alive[number % 2] = await workers.coordinator(f"c{number + 3}")
        results = await asyncio.gather(*(one.outcome(20) for one in handles))
        assert [one.value() for one in results] == [{"n": n} for n in range(100)]
        subjects = client.bus.subjects
        stored = await client.bus.api(
            f"STREAM.INFO.{subjects.results_stream}", {"subjects_filter": subjects.results}
        )
        assert list(stored["state"]["subjects"].values()) == [1] * 100

        async def acknowledged() -> bool:
            return await count(client.bus, subjects.tasks_stream) == 0

        await eventually(acknowledged, 10)
        print(f"\n{kills} kills, {sum(ran.values())} runs of 100 tasks")


async def test_a_server_restart_loses_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server, fleet, port, client = await stack.enter_async_context(site())
        await stack.enter_async_context(Coordinator.connect(server.url, fleet))
        device = Device(port, fleet, "relay-1", every=1)
        await stack.enter_async_context(device)
        await there(client, "relay-1")
        before = await client.submit("blink", 1)
        await eventually(lambda: before.id in device.held)
        await server.kill()
        # It ends while nobody is there, and is said again after each connect.
        device.finish(before.id, output="kept")
        await server.restart()
        assert await before.result(timeout=15) == "kept"
        assert (await before.outcome()).attempt == 1
        await eventually(lambda: device.connects == 2, 10)
        after = await client.submit("blink", 2)
        await eventually(lambda: after.id in device.held, 10)
        device.finish(after.id, output="again")
        assert await after.result(timeout=10) == "again"
        await eventually(lambda: not device.unconfirmed, 10)
        assert await events(client.bus, "relay-1") == ["joined"]


@asynccontextmanager
async def process(
    fleet: str, port: int, thing: str, password: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``examples/edge/thing.py``, as a device would run it."""
    environ = {
        **os.environ,
        "FLEETBUS_FLEET": fleet,
        "MQTT_PORT": str(port),
        "MQTT_PASSWORD": password,
    }
    made = await asyncio.create_subprocess_exec(
        *leashed([sys.executable, "examples/edge/thing.py", thing]), cwd=ROOT, env=environ
    )
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


async def told(client: Client, verb: str, thing: str) -> Reply:
    """What one thing answers."""
    asked = client.broadcast(verb, select=f"agent={thing}", timeout=10)
    (reply,) = [one async for one in asked]
    return reply


async def test_the_example_is_killed_and_its_task_runs_elsewhere() -> None:
    fleet = fresh_fleet()
    (port,) = free_ports(1)
    things = tuple(Thing(fleet, name, f"secret-of-{name}") for name in ("relay-1", "relay-2"))
    config = ServerConfig(mqtt_port=port, things=things, password="of-the-fleet")
    async with (
        NatsServer(config=config) as server,
        own_fleet(server.url, fleet),
        Client.connect(server.url, fleet) as client,
        Coordinator.connect(server.url, fleet),
        process(fleet, port, "relay-1", "secret-of-relay-1") as victim,
        process(fleet, port, "relay-2", "secret-of-relay-2"),
    ):
        await there(client, "relay-1", "relay-2")
        await told(client, "drain", "relay-2")
        handle = await client.submit("switch", {"on": True, "seconds": 2})

        async def running() -> bool:
            return bool((await told(client, "status", "relay-1")).output["tasks"])

        await eventually(running, 10)
        begun = time.monotonic()
        victim.kill()
        await told(client, "resume", "relay-2")
        result = await handle.outcome(20)
        print(f"\nended elsewhere {time.monotonic() - begun:.2f} s after the kill")
        assert (result.agent, result.attempt) == ("relay-2", 2)
        assert result.value() == {"on": True}
        assert await events(client.bus, "relay-1") == ["joined", "lost"]
        reply = await told(client, "press", "relay-2")
        assert (reply.state, reply.output) == ("ok", {"on": False})

        async def measured() -> bool:
            return await count(client.bus, client.bus.subjects.telemetry_stream) > 0

        await eventually(measured)


async def test_a_device_may_speak_only_as_itself() -> None:
    fleet = fresh_fleet()
    (port,) = free_ports(1)
    things = tuple(Thing(fleet, name, f"secret-of-{name}") for name in ("relay-1", "relay-2"))
    config = ServerConfig(mqtt_port=port, things=things, password="of-the-fleet")
    async with (
        NatsServer(config=config) as server,
        own_fleet(server.url, fleet),
        Client.connect(server.url, fleet) as client,
        Coordinator.connect(server.url, fleet),
        Device(port, fleet, "relay-1", password="secret-of-relay-1", handle=echo) as honest,
        Device(port, fleet, "relay-2", password="secret-of-relay-2") as rogue,
    ):
        await there(client, "relay-1", "relay-2")
        heard: list[str] = []
        await client.bus.listen("fleet.>", lambda message: heard.append(message.subject))
        await client.bus.flush()
        # QoS 1 is acknowledged all the same, which is MQTT 3.1.1: there is no other answer.
        for topic in (
            f"fleet/{fleet}/thing/relay-1/up/bye",
            f"fleet/{fleet}/thing/relay-2/down/task",
            f"fleet/{fleet}/result/me/1",
            f"fleet/{fleet}/dispatch/relay-1",
        ):
            rogue.client.publish(topic, b'{"boot":"x"}', 1).wait_for_publish(5)
        refused: list[int] = []
        rogue.client.on_subscribe = lambda *got: refused.append(got[3][0].value)
        for topic in (f"fleet/{fleet}/thing/relay-1/down/+", "fleet/#", "$MQTT/#"):
            rogue.client.subscribe(topic, 1)
        await eventually(lambda: refused == [0x80] * 3)
        rogue.publish("state", {"boot": rogue.boot})
        await eventually(lambda: f"fleet.{fleet}.thing.relay-2.up.state" in heard)
        assert {one.split(".")[3] for one in heard if ".thing." in one and ".up." in one} <= {
            "relay-1",
            "relay-2",
        }
        assert f"fleet.{fleet}.thing.relay-1.up.bye" not in heard
        assert f"fleet.{fleet}.result.me.1" not in heard
        assert f"fleet.{fleet}.dispatch.relay-1" not in heard
        assert (
            await (await client.submit("blink", 7, select="agent=relay-1")).result(timeout=5) == 7
        )
        assert honest.bodies("task")


async def test_a_wrong_password_is_refused() -> None:
    fleet = fresh_fleet()
    (port,) = free_ports(1)
    config = ServerConfig(
        mqtt_port=port, things=(Thing(fleet, "relay-1", "right"),), password="of-the-fleet"
    )
    async with NatsServer(config=config), Device(port, fleet, "relay-1", password="wrong") as one:
        codes: list[str] = []
        one.client.on_connect = lambda *got: codes.append(str(got[3]))
        await eventually(lambda: codes)
        assert codes[0] == "Not authorized"
        assert not one.subscribed


async def test_a_server_of_small_messages() -> None:
    """What would not fit once it is base64 is refused, and blocks nothing."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(site(max_payload=64 * 1024))
        server, fleet, port, client = made
        await stack.enter_async_context(Coordinator.connect(server.url, fleet))
        device = Device(port, fleet, "relay-1", slots=1, commands=("reset",), handle=echo)
        await stack.enter_async_context(device)
        await there(client, "relay-1")
        with pytest.raises(TaskRejected, match="a thing takes 47616"):
            await (await client.submit("blink", b"x" * 60_000)).result(timeout=5)
        asked = client.broadcast("reset", {"text": "x" * 60_000}, timeout=5)
        (reply,) = [one async for one in asked]
        assert (reply.state, "a thing takes 47616" in reply.error) == ("rejected", True)
        assert await (await client.submit("blink", "x" * 40_000)).result(timeout=5) == "x" * 40_000
