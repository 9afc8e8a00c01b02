"""examples/edge/thing.py, as somebody starts it who makes mistakes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.sites.server import free_ports
from bus import Client, codec
from bus.leash import leashed
from bus.server import NatsServer
from bus.server_config import ServerConfig, Thing
from bus.testing import eventually, fresh_fleet
from bus.testing import fleet as own_fleet
from bus.wire.thing import ThingCommand
from coordinator import Coordinator
from coordinator.things import mqtt
from tests.coordinator.things.helpers import events, there

ROOT = Path(__file__).resolve().parents[2]


class Example:
    """A run of it, and what it has written to its standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode())

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@asynccontextmanager
async def example(*arguments: str, **environ: str) -> AsyncIterator[Example]:
    made = Example(
        await asyncio.create_subprocess_exec(
            *leashed([sys.executable, "examples/edge/thing.py", *arguments]),
            cwd=ROOT,
            env={**os.environ, **environ},
            stderr=asyncio.subprocess.PIPE,
        )
    )
    reading = asyncio.create_task(made.read())
    try:
        yield made
    finally:
        if made.process.returncode is None:
            made.process.kill()
        await made.process.wait()
        await reading


async def test_without_an_id_it_says_how_it_is_used() -> None:
    async with example() as run:
        assert await run.process.wait() == 1
    assert run.lines[0].startswith("usage: ")
    assert len(run.lines) == 1


async def test_without_a_server_it_says_so_and_tries_again() -> None:
    (port,) = free_ports(1)
    async with example("relay-1", MQTT_PORT=str(port)) as run:
        await eventually(lambda: run.said(f"nobody answers at 127.0.0.1:{port}"))
        assert run.process.returncode is None


@pytest.mark.parametrize("fleet_", ["", "another"], ids=["wrong password", "another fleet"])
async def test_what_the_server_refuses_is_said(fleet_: str) -> None:
    (port,) = free_ports(1)
    things = (Thing("dev", "relay-1", "right"),)
    config = ServerConfig(mqtt_port=port, things=things, password="of-the-fleet")
    password = "right" if fleet_ else "wrong"
    expected = "refused the subscription" if fleet_ else "refused: Not authorized"
    environ = {"MQTT_PORT": str(port), "MQTT_PASSWORD": password, "FLEETBUS_FLEET": fleet_ or "dev"}
    async with NatsServer(config=config), example("relay-1", **environ) as run:
        await eventually(lambda: run.said(expected))
        assert run.process.returncode is None


async def test_a_command_that_comes_twice_is_done_once_and_ctrl_c_says_goodbye() -> None:
    fleet = fresh_fleet()
    (port,) = free_ports(1)
    things = (Thing(fleet, "relay-1", "right"),)
    config = ServerConfig(mqtt_port=port, things=things, password="of-the-fleet")
    environ = {"MQTT_PORT": str(port), "MQTT_PASSWORD": "right", "FLEETBUS_FLEET": fleet}
    async with (
        NatsServer(config=config) as server,
        own_fleet(server.url, fleet),
        Client.connect(server.url, fleet) as client,
        Coordinator.connect(server.url, fleet),
        example("relay-1", **environ) as run,
    ):
        await there(client, "relay-1")
        await eventually(lambda: run.said(f"in fleet {fleet}"))
        replies: list[Any] = []
        subject = client.bus.subjects.thing_up("relay-1", "reply")
        await client.bus.listen(
            subject, lambda got: replies.append(codec.decode(dict[str, Any], got.data))
        )
        await client.bus.flush()
        for _ in range(2):
            await mqtt.send(client.bus, "relay-1", "command", ThingCommand("one", "press"))
        late = ThingCommand("two", "press", expires_ms=1)
        await mqtt.send(client.bus, "relay-1", "command", late)
        await eventually(lambda: len(replies) == 3)
        assert [one.get("output") for one in replies] == [{"on": True}, {"on": True}, None]
        assert replies[2]["state"] == "rejected"
        run.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(run.process.wait(), 10) == 0
        await there(client)
        assert await events(client.bus, "relay-1") == ["joined", "left"]
