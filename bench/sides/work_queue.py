"""A bare JetStream work queue: workers pull for themselves, nobody routes.

What one would write without a framework, as well as nats-py allows it: workers fetch in
batches, store the result under the task's id, wait for the PubAck and acknowledge. Nobody
balances: a worker takes what it fetches, whatever the others do meanwhile.

``python -m bench.sides.work_queue URL`` is a worker.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Literal

import nats
import uvloop
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from bench.harness.load import Load
from bench.sides import bare_client

BATCH = 100
"""Tasks a worker fetches at once: nats-py answers small batches at a fraction of the rate."""
EXPIRES = 0.05
"""Seconds after which a fetch ends. nats-py keeps what has come until the batch is full or the
fetch ends: with five seconds, two runs in nine stood still for as long."""
RUNNING = 256
"""Tasks a worker has in hand, as many as one of our agents' windows."""


async def setup(url: str, storage: Literal["file", "memory"] = "file") -> None:
    """Its two streams and the consumer that workers share."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    kept = StorageType(storage)
    await js.add_stream(
        StreamConfig(
            name="QUEUE_TASKS",
            subjects=["queue.task.>"],
            storage=kept,
            retention=RetentionPolicy.WORK_QUEUE,
        )
    )
    await js.add_stream(
        StreamConfig(name="QUEUE_RESULTS", subjects=["queue.result.>"], storage=kept, max_age=3600)
    )
    await js.add_consumer(
        "QUEUE_TASKS", ConsumerConfig(durable_name="workers", ack_wait=10, max_ack_pending=20_000)
    )
    await nc.close()


def commands(url: str, names: Sequence[str]) -> list[tuple[str, ...]]:
    """What ``spawn`` starts its workers with."""
    return [("-m", "bench.sides.work_queue", url) for _ in names]


async def worker(url: str) -> None:
    """Fetch, answer with the payload, acknowledge."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    fetching = await js.pull_subscribe_bind("workers", "QUEUE_TASKS")
    room = asyncio.Semaphore(RUNNING)
    working: set[asyncio.Task[None]] = set()

    async def handle(message: Msg) -> None:
        try:
            subject = message.subject.replace(".task.", ".result.", 1)
            await js.publish(
                subject, message.data, headers={"Nats-Expected-Last-Subject-Sequence": "0"}
            )
            await message.ack()
        finally:
            room.release()

    print("ready", flush=True)
    while True:
        await room.acquire()
        room.release()
        try:
            batch = await fetching.fetch(BATCH, timeout=EXPIRES)
        except TimeoutError:  # nothing waits; nats-py raises Python's own at times, not its own
            continue
        for message in batch:
            await room.acquire()
            task = asyncio.create_task(handle(message))
            working.add(task)
            task.add_done_callback(working.discard)


async def submit(url: str, count: int, outstanding: int, payload: bytes) -> Load:
    """``count`` tasks, ``outstanding`` at a time."""
    return await bare_client.submit(
        url,
        lambda task: (f"queue.task.{task}", {"Nats-Msg-Id": task}),
        "queue.result",
        count,
        outstanding,
        payload,
    )


if __name__ == "__main__":
    uvloop.run(worker(sys.argv[1]))
