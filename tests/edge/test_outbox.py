"""What an edge agent has to say reaches the hub, whatever becomes of link and power."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bus import Bus, Client, store
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from bus.topology import TopologySettings
from bus.transport import Inbound
from coordinator import Coordinator
from edge import Agent
from edge.outbox import Outbox
from edge.runtime import Runtime
from tests.support.edge import running
from tests.support.proxy import Proxy


def declared(name: str = "e1") -> Agent:
    agent = Agent(name, grace=0.5)

    @agent.capability("sleep", params={"seconds": float})
    async def sleep(task: object, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    return agent


def kept(runtime: Runtime) -> Outbox:
    assert runtime.outbox is not None
    return runtime.outbox


async def stored(bus: Bus) -> list[Inbound]:
    """All readings that the hub has, in its order."""
    subjects = bus.subjects
    return [one async for one in store.scan(bus, subjects.telemetry_stream, subjects.telemetries)]


async def values(bus: Bus) -> list[int]:
    return [json.loads(one.data)["value"] for one in await stored(bus)]


async def say(runtime: Runtime, numbers: range) -> None:
    subject = runtime.root + "telemetry.default.e1.count"
    for number in numbers:
        await kept(runtime).send(subject, json.dumps({"value": number}).encode())


async def off(proxy: Proxy, runtime: Runtime) -> None:
    proxy.hold()
    proxy.cut()
    await eventually(lambda: not runtime.client.connected)


async def test_a_thousand_readings_of_an_outage_arrive_in_order_and_once(
    nats_url: str, bus: Bus, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"spool": str(tmp_path / "spool"), "spool_rate": 2000}
    async with (
        Proxy(nats_url) as proxy,
        running(declared(), proxy.url, bus.subjects.fleet, **settings) as runtime,
    ):
        await say(runtime, range(10))
        await off(proxy, runtime)
        await say(runtime, range(10, 1010))
        assert kept(runtime).report()["spooled"] == 1000
        proxy.release()
        begun = time.monotonic()
        await say(runtime, range(1010, 1020))
        await eventually(lambda: not kept(runtime).report()["spooled"], timeout=10)
        assert time.monotonic() - begun < 10
        assert await values(bus) == list(range(1020))


async def test_a_link_that_breaks_all_the_time_doubles_and_loses_nothing(
    nats_url: str, tmp_path: Path
) -> None:
    """Not even where the broker has forgotten the ids of messages meanwhile."""
    forgetful = TopologySettings(dedup_seconds=0.1)
    settings: dict[str, Any] = {"spool": str(tmp_path / "spool"), "spool_rate": 2000}
    async with (
        own_fleet(nats_url, settings=forgetful) as fleet,
        Proxy(nats_url) as proxy,
        running(declared(), proxy.url, fleet, **settings) as runtime,
    ):

        async def cut() -> None:
            for _ in range(12):
                await asyncio.sleep(0.05)
                proxy.cut()
                await eventually(lambda: runtime.client.connected)

        cutting = asyncio.create_task(cut())
        sent = 0
        while not cutting.done():
            await say(runtime, range(sent, sent + 5))
            sent += 5
            await asyncio.sleep(0.002)
        await cutting
        await eventually(lambda: not kept(runtime).report()["spooled"], timeout=10)
        async with Client.connect(nats_url, fleet) as client:
            assert await values(client.bus) == list(range(sent))


async def test_a_result_outlives_the_link(
    nats_url: str, client: Client, coordinator: Coordinator, tmp_path: Path
) -> None:
    fleet = client.bus.subjects.fleet
    async with (
        Proxy(nats_url) as proxy,
        running(declared(), proxy.url, fleet, spool=str(tmp_path / "spool")) as runtime,
    ):
        handle = await client.submit("sleep", {"seconds": 0.2})
        await eventually(lambda: runtime.load.running)
        await off(proxy, runtime)
        await eventually(lambda: kept(runtime).report()["spooled"] == 1)
        proxy.release()
        result = await handle.outcome(timeout=10)
        assert (result.state, result.agent, result.attempt) == ("completed", "e1", 1)
        await eventually(lambda: not kept(runtime).report()["spooled"])


PROGRAM = """
import asyncio, sys
from edge import Agent
from edge.outbox import Outbox
agent = Agent("e1")
@agent.capability("sleep", params={"seconds": float})
async def sleep(task, seconds):
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    print("ran", flush=True)
    return seconds
@agent.telemetry("count", every=0.01)
def count():
    count.last = getattr(count, "last", int(sys.argv[1])) + 1
    return count.last
agent.run()
"""


@pytest.mark.fault
async def test_a_result_outlives_the_power(
    nats_url: str, client: Client, coordinator: Coordinator, tmp_path: Path
) -> None:
    """Link and power fail one after the other: what was done is not done again."""
    program = tmp_path / "device.py"
    program.write_text(PROGRAM)

    output = tmp_path / "output"

    def said(text: str) -> bool:
        return text in output.read_text()

    def start(url: str, first: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "FLEETBUS_URL": url,
            "FLEETBUS_FLEET": client.bus.subjects.fleet,
            "FLEETBUS_SPOOL": str(tmp_path / "spool"),
            "FLEETBUS_SPOOL_RATE": "2000",
            "FLEETBUS_RECONNECT_MAX": "0.2",
        }
        with output.open("wb") as file:
            command = [sys.executable, str(program), str(first)]
            return subprocess.Popen(command, env=environment, stdout=file, stderr=file)

    async with Proxy(nats_url) as proxy:
        device = start(proxy.url, 0)
        try:
            handle = await client.submit("sleep", {"seconds": 0.3})
            await eventually(lambda: said("ready"))
            await eventually(lambda: said("begun"))
            proxy.hold()
            proxy.cut()
            await eventually(lambda: said("ran"))
            await eventually(lambda: list((tmp_path / "spool").glob("r*")))
            await asyncio.sleep(0.3)  # some more readings, while nobody hears them
            device.send_signal(signal.SIGKILL)
            device.wait()
            proxy.release()
            device = start(nats_url, 100_000)
            result = await handle.outcome(timeout=20)
            assert (result.state, result.attempt, result.agent) == ("completed", 1, "e1")
            await eventually(lambda: said("ready"))
            await eventually(lambda: _later(client.bus))
        finally:
            device.send_signal(signal.SIGTERM)
            try:
                device.wait(timeout=10)
            finally:
                device.kill()
    assert not said("ran")  # once, before the power went
    readings = [
        value for one in await stored(client.bus) for _, value in json.loads(one.data)["readings"]
    ]
    assert len(set(readings)) == len(readings)
    assert readings == sorted(readings)
    before = [one for one in readings if one < 100_000]
    # The one that was being written may be lost: it was not acknowledged to anybody.
    assert before == list(range(1, len(before) + 1))


async def _later(bus: Bus) -> bool:
    found = await stored(bus)
    return bool(found) and json.loads(found[-1].data)["readings"][0][1] > 100_000


async def test_without_a_spool_readings_are_dropped_and_counted(nats_url: str, bus: Bus) -> None:
    agent = declared()
    agent.telemetry("count", every=3600)(lambda: None)
    async with (
        Proxy(nats_url) as proxy,
        running(agent, proxy.url, bus.subjects.fleet) as runtime,
    ):
        await off(proxy, runtime)
        await say(runtime, range(5))
        assert kept(runtime).report() == {"dropped": 5}
        proxy.release()
        await eventually(lambda: runtime.client.connected)


async def test_a_full_spool_drops_the_oldest_readings_and_says_so(
    nats_url: str, bus: Bus, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "spool": str(tmp_path / "spool"),
        "spool_bytes": 16384,
        "spool_rate": 2000,
    }
    async with (
        Proxy(nats_url) as proxy,
        running(declared(), proxy.url, bus.subjects.fleet, **settings) as runtime,
    ):
        await off(proxy, runtime)
        await say(runtime, range(1000))
        report = kept(runtime).report()
        assert report["spooled"] + report["dropped"] == 1000
        assert report["dropped"] > 0
        proxy.release()
        await eventually(lambda: not kept(runtime).report()["spooled"], timeout=10)
        assert await values(bus) == list(range(report["dropped"], 1000))
        await eventually(lambda: kept(runtime).report()["dropped"] == report["dropped"])


async def test_a_folder_that_cannot_be_used_is_named(
    nats_url: str, bus: Bus, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    runtime = Runtime(declared(), {"url": nats_url, "spool": str(file)})
    with pytest.raises(ValueError, match="spool folder"):
        await runtime.serve(lambda stop: None)
