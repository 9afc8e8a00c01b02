"""FastStream on NATS JetStream: a work queue that workers pull from, and a stream of results.

FastStream has no result backend. A durable result is what a second stream keeps: the handler's
publisher stores it before the task is acknowledged, and the client listens on its subject.
"""
# FastStream is in an environment of its own:
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType

from bench.peers.scripts.script import Setup, answer, ready, serve

PACKAGES = ("faststream", "nats-py")
BATCH = 32
EXPIRES = 0.1
"""Seconds until a pull request ends. A batch can be stuck in nats-py until then: with the five
seconds that are usual, the loop stands still for as long now and then."""
TASKS = JStream(
    "TASKS", subjects=["tasks"], retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.FILE
)
RESULTS = JStream("RESULTS", subjects=["results"], storage=StorageType.FILE, max_age=3600)


def broker_of(setup: Setup) -> Any:
    """Without logs; without pydantic too, unless it is asked for."""
    return NatsBroker(setup.server, logger=None, apply_types=setup.typed)


async def work(setup: Setup) -> None:
    """A worker."""
    broker = broker_of(setup)
    subscriber = broker.subscriber(
        "tasks",
        stream=TASKS,
        durable="workers",
        config=ConsumerConfig(max_ack_pending=20_000, ack_wait=setup.recovery or None),
        pull_sub=PullSub(batch_size=setup.hands or BATCH, timeout=EXPIRES),
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    subscriber(broker.publisher("results", stream=RESULTS)(answer))
    await broker.start()
    ready(*PACKAGES)
    await asyncio.Event().wait()


async def drive(setup: Setup) -> None:
    """The driver. Tasks and results belong together by their correlation id."""
    broker = broker_of(setup)
    waiting: dict[str, asyncio.Future[str]] = {}
    submitted = 0

    def settle(key: str, data: str) -> None:
        # A task that was run twice has two results.
        if (future := waiting.pop(key, None)) is not None:
            future.set_result(data)

    if setup.typed:

        async def on_typed(data: str, message: NatsMessage) -> None:
            settle(message.correlation_id, data)

        broker.subscriber("results")(on_typed)
    else:

        async def with_id(message: NatsMessage) -> tuple[str, str]:
            return message.correlation_id, message.body.decode()

        async def on_result(result: tuple[str, str]) -> None:
            settle(*result)

        broker.subscriber("results", decoder=with_id)(on_result)

    async def operation(data: str) -> object:
        nonlocal submitted
        submitted += 1
        key = str(submitted)
        waiting[key] = future = asyncio.get_running_loop().create_future()
        # With the stream's name it returns when the server has stored the task.
        await broker.publish(data, "tasks", stream=TASKS.name, correlation_id=key)
        return await future

    await broker.start()
    await serve(operation, *PACKAGES)


if __name__ == "__main__":
    read = Setup.read()
    uvloop.run(drive(read) if read.role == "driver" else work(read))
