"""arq over Redis. Workers look for jobs, and clients for results, at intervals."""
# arq is in an environment of its own:
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from bench.peers.scripts.script import Setup, answer, ready, serve

PACKAGES = ("arq", "redis")
HANDS = 256
POLL = 0.001
"""Seconds between two looks of a worker for jobs; the default is half a second."""
LOOK = 0.005
"""Seconds between two looks for a result; likewise. Less takes more than it gives under load."""
RELEASE = 10.0
"""Seconds that arq adds to a job's longest time before it takes it from a dead worker."""


async def job(_: Any, data: str) -> str:
    """The task, as arq calls it."""
    return await answer(data)


async def started(_: Any) -> None:
    """Called when the worker is connected."""
    ready(*PACKAGES)


async def work(setup: Setup) -> None:
    """A worker."""
    worker = Worker(
        [func(job, name="job")],
        redis_settings=RedisSettings.from_dsn(setup.server),
        on_startup=started,
        max_jobs=setup.hands or HANDS,
        job_timeout=max(1.0, setup.recovery - RELEASE) if setup.recovery else 300,
        poll_delay=POLL,
        log_results=False,
    )
    await worker.async_run()


async def drive(setup: Setup) -> None:
    """The driver."""
    pool = await create_pool(RedisSettings.from_dsn(setup.server))

    async def operation(data: str) -> object:
        submitted = await pool.enqueue_job("job", data)
        return await submitted.result(poll_delay=LOOK)

    await serve(operation, *PACKAGES)


if __name__ == "__main__":
    read = Setup.read()
    # arq's worker takes its loop from the policy when it is made, not from who runs it.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(drive(read) if read.role == "driver" else work(read))
