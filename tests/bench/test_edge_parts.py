"""What the simulation of devices is made of: profiles, links, what is counted, how it is judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bench.edge import frames, outcome
from bench.edge.crew import together
from bench.edge.device import Boot, Device
from bench.edge.disk import Disk
from bench.edge.link import Link
from bench.edge.load import Submitted
from bench.edge.outcome import Reading, Stored
from bench.edge.plan import Plan
from bench.edge.profiles import PROFILES, Profile, hurried, profile
from bench.edge.tally import Report, Tally
from bench.harness.errors import BenchError
from bus.testing import eventually
from edge.clock import SLOWEST
from edge.settings import PROFILES as SETTINGS

STILL = replace(profile("lan"), latency=0.0, jitter=0.0)


@asynccontextmanager
async def echoing(chosen: Profile) -> AsyncIterator[tuple[Link, int, list[asyncio.StreamWriter]]]:
    """A link, the port of a server that says all that it hears, and its open connections."""
    there: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.append(writer)
        try:
            while data := await reader.read(65_536):
                writer.write(data)
        except OSError:
            pass  # reset
        finally:
            there.remove(writer)
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link(chosen, Random(1))
    try:
        yield link, server.sockets[0].getsockname()[1], there
    finally:
        link.close()
        server.close()
        await eventually(lambda: not there)
        await asyncio.sleep(0)  # the last transport closes in the next turn of the loop


def test_profiles_are_sound() -> None:
    assert [one.name for one in PROFILES] == ["lan", "wan", "flaky-3g", "nb-iot", "satellite"]
    for one in PROFILES:
        assert one.sentence.endswith(".")
        assert one.settings in SETTINGS
        assert one.jitter <= one.latency
        assert one.skewed + one.clockless <= 1
    with pytest.raises(BenchError, match="known are lan, wan"):
        profile("dialup")


def test_a_hurried_life_is_the_same_in_less_time() -> None:
    slow = profile("flaky-3g")
    fast = hurried(slow, 10)
    assert fast.partition == (0.2, 9)
    assert fast.reboot_every == slow.reboot_every / 10
    assert fast.latency == slow.latency / 10
    assert (fast.up, fast.loss, fast.half_open) == (slow.up, slow.loss, slow.half_open)


async def test_a_link_takes_its_time_and_keeps_the_order() -> None:
    slow = replace(STILL, latency=0.05, jitter=0.05, up=100_000, loss=0.2, stall=(0.01, 0.05))
    async with echoing(slow) as (link, number, _):
        reader, writer = await link.connect("127.0.0.1", number, None)
        begun = time.monotonic()
        said = b"".join(b"%05d" % n for n in range(4000))
        for at in range(0, len(said), 500):
            writer.write(said[at : at + 500])
            await asyncio.sleep(0)
        assert await reader.readexactly(len(said)) == said
        # 20,000 bytes at 100,000 a second.
        assert time.monotonic() - begun > 0.2
        assert (link.sent, link.received) == (len(said), len(said))
        writer.close()


async def test_a_partition_holds_what_is_said_and_new_connections() -> None:
    async with echoing(replace(STILL, half_open=0.0)) as (link, number, _):
        reader, writer = await link.connect("127.0.0.1", number, None)
        link.cut()
        writer.write(b"held")
        other = asyncio.create_task(link.connect("127.0.0.1", number, None))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(10), 0.1)
        assert not other.done()
        link.heal()
        assert await reader.read(10) == b"held"
        (await other)[1].close()
        writer.close()


@pytest.mark.parametrize("told", ["nobody", "server", "device"])
async def test_half_open_is_what_one_end_is_not_told(told: str) -> None:
    async with echoing(replace(STILL, half_open=1.0)) as (link, number, there):
        reader, writer = await link.connect("127.0.0.1", number, None)
        await eventually(lambda: len(there) == 1)
        link.draw.choice = lambda choices: told  # type: ignore[method-assign,return-value,assignment]  # the fate under test
        link.cut()
        link.heal()
        if told == "device":
            assert await reader.read(10) == b""
        else:
            writer.write(b"into the void")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(10), 0.1)
        assert len(there) == (0 if told == "server" else 1)
        writer.close()


async def test_the_server_is_not_told_of_a_loss_of_power() -> None:
    async with echoing(STILL) as (link, number, there):
        _, writer = await link.connect("127.0.0.1", number, None)
        await eventually(lambda: len(there) == 1)
        link.power_cut()
        writer.close()
        await asyncio.sleep(0.05)
        assert len(there) == 1


def test_nothing_is_written_without_power(tmp_path: Path) -> None:
    disk = Disk()
    path = str(tmp_path / "file")
    file = disk.open(path, "ab")
    disk.write(file, b"before")
    disk.cut()
    assert file.closed
    for attempt in (
        lambda: disk.open(path, "ab"),
        lambda: disk.write(file, b"after"),
        lambda: disk.rename(path, path + "2"),
        lambda: disk.remove(path),
    ):
        with pytest.raises(OSError, match="no power"):
            attempt()
    assert Path(path).read_bytes() == b"before"


def test_tasks_are_judged() -> None:
    submitted = {
        name: Submitted(name, 100.0, deadline)
        for name, deadline in (("a", 0.0), ("b", 150.0), ("c", 150.0), ("d", 0.0))
    }
    results = [
        Stored("a", "completed", 103.0),
        Stored("a", "completed", 104.0),
        Stored("b", "expired", 120.0),
        Stored("c", "expired", 151.0),
        Stored("somebody else's", "failed", 101.0),
    ]
    found = outcome.tasks(submitted, results)
    assert found.states == {"completed": 1, "expired": 2}
    assert found.unfinished == ["d"]
    assert (found.duplicates, found.early, found.slowest) == (1, 1, 51.0)


def test_readings_are_judged() -> None:
    stored = [
        Reading("x", 1, 0),
        Reading("x", 3, 0),
        Reading("x", 2, 86_400_000),
        Reading("x", 3, 0),
        Reading("y", 2, -SLOWEST // 2),  # as far off as a slow answer may make it
        Reading("y", 3, -86_400_000, told=False),
        Reading("other", 1, 0),
    ]
    found = outcome.readings({"x": 4, "y": 3}, stored)
    assert (found.taken, found.stored, found.missing) == (7, 5, 2)
    assert (found.doubled, found.disordered) == (1, 1)
    assert (found.misdated, found.undated) == (1, 1)
    assert found.worst == {"x": 1, "y": 1}


async def test_a_device_without_power_takes_no_readings(tmp_path: Path) -> None:
    plan = Plan("flaky-3g", 1, 1.0, 1.0)
    device = Device(0, "nats://127.0.0.1:1", "dev", plan, tmp_path)
    device.boot = Boot(device._agent(), {})
    reading = await device._reading()
    assert reading is not None
    assert (reading[0], device.tally.taken) == (1, 1)
    device.disk.cut()  # and what was on has not ended yet
    assert await device._reading() is None
    assert device.tally.taken == 1


def test_reports_add_up() -> None:
    one = Report(Tally(devices=1, sent=10), rss=5, late=0.1, problems={"a": 1})
    two = Report(Tally(devices=2, sent=5), rss=6, late=0.3, problems={"a": 2, "b": 1})
    made = together([one, two])
    assert (made.tally.devices, made.tally.sent) == (3, 15)
    assert (made.rss, made.late, made.problems) == (11, 0.3, {"a": 3, "b": 1})


def test_a_recording_is_told_apart() -> None:
    up = [
        b"PUB fleet.f.hb.site.a 2\r\n{}\r\nPING\r\n",
        b"HPUB $KV.REGISTRY_f.a _INBOX.x.1 12 14\r\nNATS/1.0\r\n\r\n{}\r\n",
    ]
    down = [b"PONG\r\nMSG _INBOX.x.1 1 4\r\n", b"PING\r\nHMSG fleet.f.advert.a 2 12 12\r\n"]
    down += [b"NATS/1.0\r\n\r\n\r\n", b"MSG fleet.f.config.x 3 0\r\n\r\n"]
    recorded = [(0.0, True, one) for one in up] + [(0.0, False, one) for one in down]
    found = frames.by_kind(recorded)
    assert found[frames.BEAT] == [1, 29, 0]
    assert found[frames.RENEWAL][:1] == [1]
    # A body may look like the protocol.
    assert found[frames.ANSWER] == [1, 0, 26]
    assert found[frames.ADVERT][0] == 1
    assert found[frames.PING] == [2, 6, 6]
    assert found[frames.OTHER][0] == 1
    total = sum(sum(counted[1:]) for counted in found.values())
    assert total == sum(len(one) for one in (*up, *down))
    with pytest.raises(BenchError, match="ends within"):
        frames.by_kind([(0.0, True, b"PUB x 2")])
