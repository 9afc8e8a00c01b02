"""``fleetbus top``: its numbers, its frames, and the terminal that it leaves."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
import termios
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from rich.console import Console

from bus import Bus, Client
from bus.client.queue import Lane
from bus.testing import eventually
from bus.wire.card import Card
from bus.wire.event import Event
from bus.wire.heartbeat import CoordinatorBeat, Heartbeat
from bus.wire.site import SiteRecord
from coordinator import Coordinator
from fleetbus.roster import Row
from fleetbus.top.frame import frame
from fleetbus.top.model import Meter, Model
from fleetbus.top.snapshot import Share, Snapshot, percentiles
from tests.conftest import Join
from tests.e2e.test_task_path import echo_agent
from tests.support.cli import ROOT, environment, fleetbus


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ([], None),
        ([5.0], Share(5.0, 5.0)),
        ([float(i) for i in range(101)], Share(50.0, 99.0)),
        ([3.0, 1.0, 2.0], Share(2.0, 3.0)),
    ],
)
def test_percentiles(values: list[float], share: Share | None) -> None:
    assert percentiles(values) == share


@pytest.mark.parametrize(
    ("beats", "rate"),
    [
        ([], None),
        ([(0.0, 5)], None),
        ([(0.0, 0), (1.0, 10)], 10),
        ([(0.0, 0), (1.0, 10), (2.0, 30)], 15),
        ([(0.0, 0), (100.0, 0), (101.0, 50)], 50),
        ([(0.0, 0), (60.0, 120)], 2),
        ([(i * 0.05, i) for i in range(200)], 20),
    ],
)
def test_rate(beats: list[tuple[float, int]], rate: float | None) -> None:
    meter = Meter("i1")
    for at, done in beats:
        meter.take(at, done)
    assert meter.rate() == (None if rate is None else pytest.approx(rate, rel=0.05))


def row(agent: str, running: int = 0) -> Row:
    beat = Heartbeat(agent, "i1", 1, slots=4, running=running, done=7, next_in=60)
    return Row(Card(agent, "i1", slots=4), beat, time.monotonic())


BUSY = Snapshot(
    fleet="dev",
    url="localhost:4222",
    at=1000.0,
    rows=[row(f"agent-{i}", 4 if i == 0 else 1) for i in range(100)],
    rates={f"agent-{i}": 2.5 for i in range(100)},
    lanes=[Lane(f"cap-{i}", 1, waiting=i, held=1, served=i != 5) for i in range(30)],
    dead=3,
    coordinators=[CoordinatorBeat(f"c{i}", 1.0, "host", 5) for i in range(20)],
    events=[Event("joined", f"agent-{i}", 999_000) for i in range(50)],
    queued=Share(0.5, 2.0),
    ran=Share(12.0, 300.0),
)


def drawn(snapshot: Snapshot, height: int | None = None) -> str:
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(frame(snapshot, height))
    return capture.get()


def test_a_frame_has_it_all() -> None:
    text = drawn(BUSY)
    for part in (
        "fleet dev on localhost:4222",
        "agents 100  busy 103/400",
        "done/s 250.0",
        "waiting 435  held 30",
        "dead 3",
        "queued p50 500 µs p99 2 ms",
        "ran p50 12 ms p99 300 ms",
        "agent-99",
        "cap-29",
        "no agent offers it",
        "5 on host",
        "joined agent-0",
    ):
        assert part in text


@pytest.mark.parametrize("height", [24, 40, 60])
def test_a_frame_fits_a_terminal(height: int) -> None:
    text = drawn(BUSY, height)
    assert len(text.splitlines()) <= height
    assert "agent-0" in text
    assert "that are less busy" in text


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ({}, ""),
        (
            {"hub": SiteRecord("berlin", False, 700_000)},
            "  site berlin, hub away for 5m 00s",
        ),
        ({"hub": SiteRecord("berlin", True, 1)}, "  site berlin, hub connected"),
        ({"sites": [SiteRecord("a", True, 1), SiteRecord("b", True, 1)]}, "  sites 2"),
        (
            {"sites": [SiteRecord("a", False, 940_000), SiteRecord("b", True, 1)]},
            "  sites 2  a away for 1m 00s",
        ),
        (
            {"sites": [SiteRecord(f"s{n}", False, 999_000) for n in range(5)]},
            "  sites 5  s0 away for 1 s  s1 away for 1 s  s2 away for 1 s and 2 more",
        ),
    ],
)
def test_the_head_says_how_links_are(links: dict[str, Any], said: str) -> None:
    first = drawn(replace(BUSY, **links)).splitlines()[0].rstrip()
    time_of_day = time.strftime("%H:%M:%S", time.localtime(BUSY.at))
    assert first == f"fleet dev on localhost:4222  {time_of_day}{said}"


def test_agents_that_are_away_are_not_late() -> None:
    gone = [replace(row(f"a{n}"), away_ms=1) for n in range(2)]
    head = drawn(replace(BUSY, rows=[*gone, row("b")])).splitlines()[1]
    assert "  away 2" in head
    assert "late" not in head


def test_what_has_no_process_has_no_memory() -> None:
    text = drawn(replace(BUSY, rows=[row("relay-1")]))
    assert " 0 B" not in text


def test_an_empty_fleet_says_what_to_do() -> None:
    empty = replace(
        BUSY, rows=[], rates={}, lanes=[], coordinators=[], events=[], queued=None, ran=None
    )
    text = drawn(empty)
    assert "no agents: start one" in text
    assert "coordinators 0" in text
    assert "disconnected" in drawn(replace(empty, connected=False))


async def test_the_model_knows_the_fleet(
    bus: Bus, client: Client, coordinator: Coordinator, join: Join
) -> None:
    async with Model(bus) as model:
        await join(echo_agent())
        await client.submit("orphan", {})
        handles = await client.submit_many("echo", [{"text": "x"}] * 20)
        await asyncio.gather(*[handle.result(timeout=5) for handle in handles])
        await model.look()

        def known() -> bool:
            seen = model.snapshot()
            assert [one.card.agent for one in seen.rows] == ["a1"]
            assert seen.rows[0].load is not None
            assert seen.rows[0].load.done == 20
            assert [one.coordinator for one in seen.coordinators] == [coordinator.id]
            assert "joined" in [one.kind for one in seen.events]
            assert seen.ran is not None
            assert seen.queued is not None
            assert "a1" in seen.rates
            return True

        await eventually(known)

        async def only_the_orphan_waits() -> bool:
            # The server counts acknowledgements a moment after it has taken them.
            await model.look()
            return model.snapshot().lanes == [Lane("orphan", 1, waiting=1, served=False)]

        await eventually(only_the_orphan_waits)


async def test_it_samples_again_after_each_look(
    bus: Bus, client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(echo_agent())
    async with Model(bus) as model:
        for _ in range(3):
            await model.look()
            await (await client.submit("echo", {"text": "x"})).result(timeout=5)
        await bus.flush()
        await eventually(lambda: len(model._ran) == 3)
    assert not bus.dropped


async def test_once_is_one_frame(
    nats_url: str, fleet: str, coordinator: Coordinator, join: Join
) -> None:
    await join(echo_agent())
    done = await fleetbus("top", "--once", "--every", "0.2", "-u", nats_url, "-f", fleet)
    assert done.status == 0
    assert done.err == ""
    assert f"fleet {fleet}" in done.out
    assert "agents 1  busy 0/4" in done.out
    assert "a1" in done.out
    assert "\x1b" not in done.out
    done = await fleetbus("top", "--json", "--every", "0.2", "-u", nats_url, "-f", fleet)
    assert done.status == 0
    seen = done.json()
    assert [(one["agent"], one["state"]) for one in seen["agents"]] == [("a1", "ready")]
    assert [one["coordinator"] for one in seen["coordinators"]] == [coordinator.id]
    assert (seen["fleet"], seen["hub"], seen["sites"], seen["dead"]) == (fleet, None, [], 0)
    done = await fleetbus("top", "--once", "-u", nats_url, "-f", "nowhere")
    assert done.status == 3


@dataclass
class Terminal:
    """A process on a pseudo-terminal."""

    process: asyncio.subprocess.Process
    main: int
    other: int
    text: str = ""

    def read(self) -> None:
        self.text += os.read(self.main, 65536).decode("utf-8", "replace")


@asynccontextmanager
async def on_terminal(*arguments: str) -> AsyncIterator[Terminal]:
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (40, 120))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fleetbus",
        *arguments,
        stdin=other,
        stdout=other,
        stderr=other,
        cwd=ROOT,
        env=environment(TERM="xterm-256color"),
    )
    terminal = Terminal(process, main, other)
    loop = asyncio.get_running_loop()
    loop.add_reader(main, terminal.read)
    try:
        yield terminal
    finally:
        loop.remove_reader(main)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(main)
        os.close(other)


@pytest.mark.parametrize(("how", "status"), [("q", 0), ("signal", 130)])
async def test_the_terminal_is_as_it_was(
    nats_url: str, fleet: str, coordinator: Coordinator, how: str, status: int
) -> None:
    async with on_terminal("top", "--every", "0.2", "-u", nats_url, "-f", fleet) as terminal:
        before = termios.tcgetattr(terminal.other)
        await eventually(lambda: f"fleet {fleet}" in terminal.text, timeout=15)
        assert termios.tcgetattr(terminal.other) != before
        assert "\x1b[?1049h" in terminal.text
        if how == "q":
            os.write(terminal.main, b"q")
        else:
            terminal.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            assert await terminal.process.wait() == status
        await eventually(lambda: "\x1b[?1049l" in terminal.text)
        # The cursor, hidden while the screen was ours, is shown again.
        assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")
        assert termios.tcgetattr(terminal.other) == before
        assert "Traceback" not in terminal.text
