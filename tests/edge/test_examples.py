"""The examples for devices do what their first lines say, on CPython and on MicroPython."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bus import Client
from bus.leash import leashed
from bus.testing import eventually
from bus.wire.telemetry import Telemetry
from coordinator import Coordinator
from fleetbus.edge.bundle import Order, make
from tests.support.cli import ROOT, environment, fleetbus
from tests.support.micropython.running import board

EXAMPLES = ROOT / "examples" / "edge"
BOTH = pytest.mark.parametrize(
    "runtime", ["cpython", pytest.param("micropython", marks=pytest.mark.node)]
)


@asynccontextmanager
async def running(
    name: str, agent: str, runtime: str, client: Client, folder: Path, **env: str
) -> AsyncIterator[None]:
    """The example as an agent of the fleet."""
    env["FLEETBUS_AGENT"] = agent

    async def joined() -> bool:
        return [one.agent for one in await client.agents()] == [agent]

    if runtime == "micropython":
        made = make(Order(str(EXAMPLES / name), folder / "device"))
        async with board(made.path, **env):
            await eventually(joined, 15.0)
            yield
        return
    process = await asyncio.create_subprocess_exec(
        *leashed([sys.executable, "-m", "edge", str(EXAMPLES / name)]),
        cwd=folder,
        env=environment(**env),
    )
    try:
        await eventually(joined, 15.0)
        yield
    finally:
        process.terminate()
        await process.wait()


@BOTH
async def test_thermometer(
    nats_url: str, fleet: str, client: Client, tmp_path: Path, runtime: str
) -> None:
    env = {"FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": fleet}
    ask = partial(fleetbus, FLEETBUS_URL=nats_url, FLEETBUS_FLEET=fleet)
    found: list[Telemetry] = []
    last: list[Any] = []

    async def watch() -> None:
        async for seen in client.watch("telemetry"):
            found.append(seen.value)
            last.extend(value for _, value in seen.value.readings)

    watching = asyncio.create_task(watch())
    try:
        async with running("thermometer.py", "hall", runtime, client, tmp_path, **env):
            assert (await ask("config", "set", "instance.hall", "interval:=1")).status == 0
            done = await ask(
                *("broadcast", "calibrate", "celsius=80.5", "--select", "agent=hall", "--json")
            )
            offset = json.loads(done.out.splitlines()[0])["output"]
            assert 58 < offset < 61
            await eventually(lambda: any(value > 79 for value in last), 15.0)
            refused = await ask("config", "set", "instance.hall", "interval:=0")
            assert refused.status == 0
            drift = await ask("config", "drift")
            assert "interval is 1 to 3600 seconds" in drift.out + drift.err
    finally:
        watching.cancel()
    assert {(one.agent, one.series, one.unit) for one in found} == {("hall", "celsius", "°C")}


@BOTH
async def test_camera(
    nats_url: str,
    fleet: str,
    coordinator: Coordinator,
    client: Client,
    tmp_path: Path,
    runtime: str,
) -> None:
    env = {"FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": fleet}
    async with running("camera.py", "gate", runtime, client, tmp_path, **env):
        handle = await client.submit("snapshot", {"width": 1600, "height": 1200})
        told = [one.fraction async for one in handle.progress()]
        picture = await handle.result(timeout=30)
        assert len(told) >= 3
        assert told == sorted(told)
        assert len(picture) == 1600 * 1200 // 4 + 13
        assert picture[:2] + picture[-2:] == b"\xff\xd8\xff\xd9"
        assert hashlib.sha256(picture[11:-2]).digest() == (
            hashlib.sha256(b"\x80" * (1600 * 1200 // 4)).digest()
        )
        small = await client.submit("snapshot", {"width": 3})
        assert "width and height are 16 to 4096" in str((await small.outcome(timeout=10)).error)
