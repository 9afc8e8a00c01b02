"""What is done at its time, and goes on beside."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

import pytest

from bus.testing import eventually
from edge.chores import Chores


@pytest.fixture
async def chores() -> AsyncIterator[Chores]:
    made = Chores()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.run())
        yield made
        made.stop()
        task.cancel()


def noting(done: list[str], name: str) -> Callable[[], None]:
    return lambda: done.append(name)


async def test_in_the_order_of_their_times(chores: Chores) -> None:
    done: list[str] = []
    for name, delay in (("c", 30), ("a", 0), ("d", 45), ("b", 15)):
        chores.at(name, delay, noting(done, name))
    await eventually(lambda: len(done) == 4)
    assert done == ["a", "b", "c", "d"]


async def test_never_before_its_time(chores: Chores) -> None:
    begun = time.monotonic()
    times: list[float] = []
    for delay in (0.3, 1, 7.9, 25):
        chores.at(f"{delay}", delay, lambda: times.append((time.monotonic() - begun) * 1000))
    await eventually(lambda: len(times) == 4)
    assert all(at >= delay for at, delay in zip(times, (0.3, 1, 7.9, 25), strict=True))


async def test_one_of_a_name_and_the_last_word_counts(chores: Chores) -> None:
    done: list[str] = []
    chores.at("x", 5, noting(done, "first"))
    chores.at("x", 30, noting(done, "second"))
    chores.at("y", 60, noting(done, "end"))
    await eventually(lambda: "end" in done)
    assert done == ["second", "end"]


async def test_sooner_never_later(chores: Chores) -> None:
    done: list[str] = []
    chores.sooner("x", 20, noting(done, "x1"))
    chores.sooner("x", 10_000, noting(done, "x2"))
    chores.at("y", 10_000, noting(done, "y1"))
    chores.sooner("y", 10, noting(done, "y2"))
    await eventually(lambda: len(done) == 2)
    assert done == ["y2", "x1"]


async def test_canceled_ones_are_not_done(chores: Chores) -> None:
    done: list[str] = []
    chores.at("x", 5, noting(done, "x"))
    chores.at("y", 5, lambda: chores.cancel("z"))  # one of the same turn
    chores.at("z", 5, noting(done, "z"))
    chores.cancel("x")
    chores.cancel("nobody")
    chores.at("end", 20, noting(done, "end"))
    await eventually(lambda: "end" in done)
    assert done == ["end"]


async def test_one_that_fails_keeps_nobody_from_its_own(
    chores: Chores, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def fail() -> None:
        raise LookupError("nothing there")

    chores.at("bad", 1, fail)
    chores.at("good", 1, noting(done, "good"))
    await eventually(lambda: done)
    assert "bad: " in caplog.text
    assert "LookupError: nothing there" in caplog.text


async def test_a_chore_may_plan_itself_and_others(chores: Chores) -> None:
    done: list[str] = []

    def again() -> None:
        done.append("again")
        if len(done) < 5:
            chores.at("again", 0, again)

    chores.at("again", 0, again)
    await eventually(lambda: len(done) == 5)


async def test_a_chore_that_is_always_due_leaves_room_for_others(chores: Chores) -> None:
    turns = [0]

    def again() -> None:
        turns[0] += 1
        chores.at("again", 0, again)

    chores.at("again", 0, again)
    async with asyncio.timeout(5):
        for _ in range(100):
            await asyncio.sleep(0)
    assert turns[0] > 10


async def test_work_beside_that_fails_is_told(
    chores: Chores, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise OSError("no route")

    task = chores.spawn(fail(), "the lease was not renewed")
    await task
    assert "the lease was not renewed: no route" in caplog.text
    assert chores._tasks == []


async def test_stop_ends_what_goes_on() -> None:
    chores = Chores()
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(name)

    tasks = [chores.spawn(work("a")), chores.spawn(work("b"))]
    await asyncio.sleep(0)
    chores.stop()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(ended) == ["a", "b"]
    assert chores._tasks == []


async def test_stop_before_the_first_step_leaves_nothing_behind() -> None:
    chores = Chores()

    async def work() -> None:
        await asyncio.sleep(100)

    task = chores.spawn(work())
    chores.stop()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert chores._tasks == []


# the watchdog


async def test_the_watchdog_is_fed_only_while_the_loop_turns() -> None:
    fed: list[float] = []
    chores = Chores(lambda: fed.append(time.monotonic()), 0.01)
    assert fed == []  # not by the declaration
    task = asyncio.create_task(chores.run())
    try:
        await eventually(lambda: len(fed) > 3)
        before = len(fed)
        time.sleep(0.06)  # noqa: ASYNC251  # the loop stands still, as with a handler that blocks
        assert len(fed) == before
        await eventually(lambda: len(fed) > before + 3)
    finally:
        task.cancel()


async def test_a_watchdog_that_fails_once_is_fed_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def feed() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the bus is busy")

    chores = Chores(feed, 0.005)
    task = asyncio.create_task(chores.run())
    try:
        with caplog.at_level(logging.ERROR):
            await eventually(lambda: len(calls) > 3)
    finally:
        task.cancel()
    assert "watchdog: " in caplog.text


async def test_a_watchdog_of_no_time_at_all_does_not_take_all_of_it() -> None:
    fed: list[int] = []
    chores = Chores(lambda: fed.append(1), 0.0)
    task = asyncio.create_task(chores.run())
    try:
        await asyncio.sleep(0.05)
    finally:
        task.cancel()
    assert 1 <= len(fed) <= 55


@pytest.mark.parametrize("turns", range(6))
async def test_it_ends_when_it_is_cancelled_whatever_happens_at_that_moment(turns: int) -> None:
    """asyncio.wait_for of Python 3.11 would swallow it, and the loop turn for ever."""
    chores = Chores()
    turning = asyncio.create_task(chores.run())
    await asyncio.sleep(0.01)
    chores.at("later", 60_000, lambda: None)
    for _ in range(turns):
        await asyncio.sleep(0)
    turning.cancel()
    done, _ = await asyncio.wait((turning,), timeout=2)
    assert done
