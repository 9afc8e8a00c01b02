"""SAQ over Redis. Workers are told of jobs; the client looks for results at intervals."""
# SAQ is in an environment of its own:
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from saq import Queue, Worker

from bench.peers.scripts.script import Setup, answer, ready, serve

PACKAGES = ("saq", "redis")
HANDS = 64
"""Each has a connection to Redis of its own, on which it waits."""
OPERATIONS = 100
"""Connections of a queue for everything else; 20 by default."""
POLL = 0.001
"""Seconds between two looks for a result. ``Job.refresh`` would be told, but misses a job that
ends between its look and its subscription, and waits for it in vain."""


async def job(_: Any, *, data: str) -> str:
    """The task, as SAQ calls it."""
    return await answer(data)


async def started(_: Any) -> None:
    """Called when the worker begins."""
    ready(*PACKAGES)


def queue_of(setup: Setup) -> Any:
    """The queue that all share."""
    return Queue.from_url(setup.server, max_concurrent_ops=OPERATIONS)


async def work(setup: Setup) -> None:
    """A worker."""
    timers = {"sweep": 1} if setup.recovery else None
    worker = Worker(
        queue_of(setup),
        [("job", job)],
        concurrency=setup.hands or HANDS,
        startup=started,
        timers=timers,
    )
    await worker.start()


async def drive(setup: Setup) -> None:
    """The driver."""
    queue = queue_of(setup)
    # Without a second attempt, what a dead worker had in hand ends as aborted.
    retried = {"timeout": round(setup.recovery), "retries": 3} if setup.recovery else {}

    async def operation(data: str) -> object:
        submitted = await queue.enqueue("job", data=data, **retried)
        while not submitted.completed:
            await asyncio.sleep(POLL)
            await submitted.refresh()
        return submitted.result

    await serve(operation, *PACKAGES)


if __name__ == "__main__":
    read = Setup.read()
    uvloop.run(drive(read) if read.role == "driver" else work(read))
