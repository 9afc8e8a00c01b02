"""The load generator: how much at a time, and from when it measures."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from bench.harness.load import closed_loop, open_loop, poisson, steady


async def test_a_closed_loop_keeps_so_many_outstanding() -> None:
    running, most = 0, 0

    async def operation() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    load = await closed_loop(operation, 50, 8)
    assert len(load.took) == 50
    assert most == 8
    assert load.rate == pytest.approx(50 / load.seconds)


async def test_a_closed_loop_never_starts_more_than_asked() -> None:
    counter = itertools.count(1)

    async def operation() -> None:
        next(counter)
        await asyncio.sleep(0)

    await closed_loop(operation, 3, 10)
    assert next(counter) == 4


async def test_failures_are_counted_and_told() -> None:
    numbers = itertools.count()

    async def operation() -> None:
        if next(numbers) % 2:
            raise ValueError("odd")

    load = await closed_loop(operation, 10, 2)
    assert len(load.took) == 5
    assert len(load.failures) == 5
    with pytest.raises(ValueError, match="odd") as caught:
        load.check()
    assert "the first of 5 failed operations" in caught.value.__notes__


async def test_an_open_loop_charges_a_stall_to_everyone_who_came_meanwhile() -> None:
    """Coordinated omission: a closed loop would show one slow operation, and no more."""
    numbers = itertools.count()

    async def operation() -> None:
        if next(numbers) == 10:
            time.sleep(0.3)  # noqa: ASYNC251 - blocks the loop on purpose: the system stalls

    load = await open_loop(operation, steady(200, 0.5))
    assert len(load.took) == 100
    # 0.3 s at 200 a second: 60 came while it stalled, and waited 0.15 s on average.
    waited = [took for took in load.took if took > 0.01]
    assert len(waited) > 50
    assert 0.2 < max(waited) < 1
    assert load.late > 0.2


async def test_an_open_loop_does_not_wait_for_the_slow() -> None:
    async def operation() -> None:
        await asyncio.sleep(0.2)

    load = await open_loop(operation, steady(100, 0.2))
    assert len(load.took) == 20
    assert load.seconds < 1  # one after the other they would take 4 s


async def test_an_open_loop_tells_failures() -> None:
    async def operation() -> None:
        raise OSError("no")

    load = await open_loop(operation, steady(100, 0.1))
    assert (len(load.took), len(load.failures)) == (0, 10)


def test_poisson_arrivals() -> None:
    arrivals = list(poisson(1000, 10, seed=3))
    assert arrivals == list(poisson(1000, 10, seed=3))
    assert arrivals != list(poisson(1000, 10, seed=4))
    assert arrivals == sorted(arrivals)
    assert len(arrivals) == pytest.approx(10_000, rel=0.05)
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    # Exponential: 63 % of the gaps are shorter than the mean.
    assert sum(gap < 0.001 for gap in gaps) / len(gaps) == pytest.approx(0.632, abs=0.02)


def test_steady_arrivals() -> None:
    assert list(steady(4, 1)) == [0, 0.25, 0.5, 0.75]
