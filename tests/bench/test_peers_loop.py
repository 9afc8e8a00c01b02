"""The loop that all drivers of peers share."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from bench.peers.scripts.loop import CHUNK, Order, Tally, closed_loop, nap_of


async def test_as_many_are_outstanding_as_ordered_and_never_more() -> None:
    now = most = 0

    async def operation(data: str) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return data

    tally = await closed_loop(operation, Order(outstanding=7, count=50))
    assert most == 7
    assert len(tally.took) == 50
    assert min(tally.took) >= 1000
    assert tally.pending == 0
    assert not tally.failures


async def test_it_begins_none_after_its_seconds_but_waits_for_those_that_run() -> None:
    async def operation(data: str) -> str:
        await asyncio.sleep(0.03)
        return data

    begun = time.perf_counter()
    tally = await closed_loop(operation, Order(outstanding=2, seconds=0.05))
    assert len(tally.took) == 4
    assert time.perf_counter() - begun >= 0.06


async def test_what_is_missing_in_time_is_given_up() -> None:
    async def operation(data: str) -> str:
        await asyncio.Event().wait()
        return data

    tally = await closed_loop(operation, Order(outstanding=3, count=3, within=0.05))
    assert (tally.pending, tally.took) == (3, [])
    assert tally.overdue


@pytest.mark.parametrize("bad", ["raises", "answers"])
async def test_what_fails_is_told_and_not_timed(bad: str) -> None:
    async def operation(data: str) -> str:
        if bad == "raises":
            raise OSError("no")
        return data + "!"

    tally = await closed_loop(operation, Order(outstanding=2, count=5, payload=3))
    assert tally.took == []
    assert tally.pending == 0
    assert len(tally.failures) == 5
    assert tally.failures[0] == ("OSError('no')" if bad == "raises" else "a task answered 'xxx!'")


def test_the_answer_has_lines_that_a_reader_can_take() -> None:
    tally = Tally(Order(outstanding=1))
    tally.took += [10_000_000] * (2 * CHUNK + 1)
    tally.begun = 2 * CHUNK + 3
    lines = tally.lines()
    assert max(map(len, lines)) < 2**16
    *parts, last = map(json.loads, lines)
    assert [len(part["took"]) for part in parts] == [CHUNK, CHUNK, 1]
    assert last["pending"] == 2
    assert last["failures"] == []
    assert last["seconds"] > 0


def test_tasks_carry_their_payload_or_how_long_they_take() -> None:
    assert Order(outstanding=1, payload=128).data == "x" * 128
    assert nap_of("x" * 128) == (0.0, "")
    assert nap_of(Order(outstanding=1, nap=0.25, log="/some where/log").data) == (
        0.25,
        "/some where/log",
    )
