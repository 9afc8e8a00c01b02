"""taskiq on NATS: the pull broker on JetStream, results in an object store, as taskiq-nats
documents them."""
# taskiq is in an environment of its own:
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from typing import Any

import uvloop
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from taskiq.api import run_receiver_task
from taskiq_nats import PullBasedJetStreamBroker
from taskiq_nats.result_backend import NATSObjectStoreResultBackend

from bench.peers.scripts.script import Setup, answer, ready, serve

PACKAGES = ("taskiq", "taskiq-nats", "nats-py")
HANDS = 256
CHECK = 0.01
"""Seconds between two looks for a result: there is no way to be told. Each look costs the server
and the client a request, so fewer are faster under load."""
DURABLE = "taskiq_durable"


def connected(setup: Setup) -> tuple[Any, Any]:
    """The broker and the task."""
    consumer = ConsumerConfig(
        durable_name=DURABLE, max_ack_pending=20_000, ack_wait=setup.recovery or None
    )
    broker = PullBasedJetStreamBroker(
        setup.server,
        stream_config=StreamConfig(retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.FILE),
        consumer_config=consumer,
        durable=DURABLE,
        # One message a request. With more, a fetch without a timeout waits for a full batch, and
        # one with a timeout ends the worker: taskiq-nats expects another error than comes.
        pull_consume_batch=1,
    ).with_result_backend(NATSObjectStoreResultBackend(setup.server))
    return broker, broker.task(task_name="answer")(answer)


async def work(setup: Setup) -> None:
    """A worker."""
    broker, _ = connected(setup)
    await broker.startup()
    ready(*PACKAGES)
    await run_receiver_task(
        broker,
        validate_params=False,
        max_async_tasks=setup.hands or HANDS,
        max_prefetch=0 if setup.hands else HANDS,
    )


async def drive(setup: Setup) -> None:
    """The driver."""
    broker, task = connected(setup)
    await broker.startup()

    async def operation(data: str) -> object:
        submitted = await task.kiq(data)
        result = await submitted.wait_result(check_interval=CHECK)
        return result.return_value

    await serve(operation, *PACKAGES)


if __name__ == "__main__":
    read = Setup.read()
    uvloop.run(drive(read) if read.role == "driver" else work(read))
