"""How a client of each side has one task done."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import nats
from nats.aio.msg import Msg

from bench.harness.servers import FLEET
from bench.routing import our_agents, rival_agents
from bench.routing.mixed_fleet import AGENTS
from bus import Client

Submit = Callable[[float], Awaitable[None]]
"""Have a task of that length done; returns when its result is there."""

PATIENCE: Final = 600.0
"""Seconds for one answer: an overloaded agent is slow, which is to be seen, not to fail."""

OURS, RANDOM, ROUND_ROBIN = "ours", "random", "round robin"
GROUP, QUEUE = "queue group", "work queue"
SIDES: Final = (OURS, RANDOM, ROUND_ROBIN, GROUP, QUEUE)
"""Those that are run, and not simulated."""


@asynccontextmanager
async def clients(url: str) -> AsyncIterator[dict[str, Submit]]:
    """One of each side, with a connection of its own."""
    async with AsyncExitStack() as stack:
        drawn = random.Random(1)
        turns = itertools.cycle(AGENTS)
        yield {
            OURS: await stack.enter_async_context(_ours(url)),
            RANDOM: await stack.enter_async_context(
                _asking(url, lambda: f"{rival_agents.RANDOM}.{drawn.choice(AGENTS)}")
            ),
            ROUND_ROBIN: await stack.enter_async_context(
                _asking(url, lambda: f"{rival_agents.ROUND_ROBIN}.{next(turns)}")
            ),
            GROUP: await stack.enter_async_context(_asking(url, lambda: rival_agents.GROUP)),
            QUEUE: await stack.enter_async_context(_storing(url)),
        }


@asynccontextmanager
async def _ours(url: str) -> AsyncIterator[Submit]:
    async with Client.connect(url, FLEET) as client:

        async def submit(length: float) -> None:
            handle = await client.submit(our_agents.CAPABILITY, {"length": length})
            result = await handle.outcome()
            if result.state != "completed":
                raise result.failure()

        yield submit


@asynccontextmanager
async def _asking(url: str, subject: Callable[[], str]) -> AsyncIterator[Submit]:
    """Request and reply on what ``subject`` says each time."""
    nc = await nats.connect(url)

    async def submit(length: float) -> None:
        await nc.request(subject(), str(length).encode(), timeout=PATIENCE)

    yield submit
    await nc.close()


@asynccontextmanager
async def _storing(url: str) -> AsyncIterator[Submit]:
    """Store a task in a work queue, and listen for its stored result."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    me = nc.new_inbox().rsplit(".", 1)[1]
    numbers = itertools.count()
    waiting: dict[str, asyncio.Future[None]] = {}

    async def on_result(message: Msg) -> None:
        waiting.pop(message.subject.rsplit(".", 1)[1]).set_result(None)

    await nc.subscribe(
        f"{rival_agents.RESULTS}.{me}.*",
        cb=on_result,
        pending_msgs_limit=-1,
        pending_bytes_limit=-1,
    )

    async def submit(length: float) -> None:
        number = str(next(numbers))
        waiting[number] = done = asyncio.get_running_loop().create_future()
        await js.publish(f"{rival_agents.TASKS}.{me}.{number}", str(length).encode())
        await asyncio.wait_for(done, PATIENCE)

    yield submit
    await nc.close()
