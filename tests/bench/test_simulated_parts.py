"""The parts that simulated agents are made of."""

from __future__ import annotations

import asyncio

import pytest

from bench.harness.errors import BenchError
from bench.simulated.link import Link
from bench.simulated.report import Report, Took
from bench.simulated.timers import Timers
from bench.simulated.traffic import Traffic
from bus.testing import eventually

STREAM = (
    b"MSG a 17 5\r\nhello\r\n"
    b"PING\r\n"
    b"MSG a.b 18 _R.1 0\r\n\r\n"
    b"HMSG c 19 12 15\r\nNATS/1.0\r\n\r\nabc\r\n"
    b"HMSG d 20 _R.2 12 12\r\nNATS/1.0\r\n\r\n\r\n"
    b"+OK\r\n"
    b"MSG e 21 4\r\n\r\n\r\n\r\n"
)
SEEN = [
    (17, b"", b"", b"hello"),
    (18, b"_R.1", b"", b""),
    (19, b"", b"NATS/1.0\r\n\r\n", b"abc"),
    (20, b"_R.2", b"NATS/1.0\r\n\r\n", b""),
    (21, b"", b"", b"\r\n\r\n"),
]


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 11, len(STREAM)])
async def test_a_link_reads_messages_however_they_are_cut(piece: int) -> None:
    seen: list[tuple[int, bytes, bytes, bytes]] = []
    link = Link("nats://host:1", "test", lambda *message: seen.append(message), lambda: None)
    for start in range(0, len(STREAM), piece):
        link.data_received(STREAM[start : start + piece])
    assert seen == SEEN
    assert link.received == len(SEEN)


async def test_a_link_needs_a_place_to_go() -> None:
    with pytest.raises(BenchError, match="no host and port"):
        Link("nonsense", "test", lambda *_: None, lambda: None)


async def test_timers_run_in_order_and_say_how_late_they_were() -> None:
    timers = Timers()
    now = asyncio.get_running_loop().time()
    ran: list[float] = []
    for offset in (0.03, 0.01, 0.02, -1.0):
        timers.at(now + offset, ran.append)
    await eventually(lambda: len(ran) == 4)
    assert ran == sorted(ran)
    assert timers.late >= 1.0


async def test_a_timer_may_plan_the_next_and_none_runs_after_the_end() -> None:
    timers = Timers()
    loop = asyncio.get_running_loop()
    ran: list[float] = []

    def again(planned: float) -> None:
        ran.append(planned)
        timers.at(loop.time() + 0.001, again)

    timers.at(loop.time(), again)
    await eventually(lambda: len(ran) >= 5)
    timers.stop()
    count = len(ran)
    await asyncio.sleep(0.03)  # in which it would have run again
    assert len(ran) == count


def test_the_peak_is_the_steepest_stretch() -> None:
    traffic = Traffic()
    counts = ((10.0, 1000), (10.5, 1100), (11.0, 3100), (11.25, 3300), (12.0, 3400), (15.0, 9400))
    for at, messages in counts:
        traffic.take(messages, at)
    # From 10.5 to 12.0 it is less, and what is shorter than a second is none.
    assert traffic.peak == 2100.0


def report(**given: float) -> Report:
    values = dict.fromkeys(Report.__struct_fields__, 1)
    return Report(**{**values, **given})  # type: ignore[arg-type]  # counts and times alike


def test_several_processes_are_one_fleet() -> None:
    added = Report.sum(
        [
            report(agents=3, first_at=10.0, all_at=12.0, late=0.5),
            report(agents=4, first_at=9.0, all_at=14.0, late=0.1),
        ]
    )
    assert (added.agents, added.first_at, added.all_at, added.late) == (7, 9.0, 14.0, 0.5)
    assert Report.sum([report(all_at=12.0), report(all_at=0.0)]).all_at == 0.0


def test_percentiles_of_one_and_of_many() -> None:
    assert Took.of([3.0]) == Took(3.0, 3.0)
    assert Took.of([float(n) for n in range(101)]) == Took(50.0, 99.0)
