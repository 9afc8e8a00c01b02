"""Work of which any amount may come up: all of it is done, and never too much at a time."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from bus.background import Background
from bus.testing import eventually
from coordinator.turns import Turns


async def test_all_is_done_in_order_and_never_more_than_the_limit_at_once() -> None:
    background = Background(logging.getLogger("test"), "testing")
    turns = Turns(background, 3)
    begun: list[int] = []
    running = highest = 0

    async def work(number: int) -> None:
        nonlocal running, highest
        begun.append(number)
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(0)
        running -= 1

    for number in range(50):
        turns.take(partial(work, number))
    assert len(turns) == 50
    await eventually(lambda: not len(turns))
    assert begun == list(range(50))
    assert highest == 3


async def test_a_failure_gives_its_turn_to_the_next() -> None:
    background = Background(logging.getLogger("test"), "testing")
    turns = Turns(background, 1)
    done = asyncio.Event()

    async def fails() -> None:
        raise TimeoutError("no answer")

    async def works() -> None:
        done.set()

    turns.take(fails)
    turns.take(works)
    async with asyncio.timeout(5):
        await done.wait()


async def test_nothing_begins_after_the_end() -> None:
    background = Background(logging.getLogger("test"), "testing")
    turns = Turns(background, 1)
    begun: list[str] = []
    go_on = asyncio.Event()

    async def waits() -> None:
        begun.append("first")
        await go_on.wait()

    async def other() -> None:
        begun.append("other")

    turns.take(waits)
    turns.take(other)
    await eventually(lambda: begun == ["first"])
    turns.close()
    turns.take(other)
    go_on.set()
    await background.settled()
    assert begun == ["first"]
