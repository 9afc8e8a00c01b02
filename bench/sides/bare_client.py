"""Submits tasks on bare nats-py, as fast as it can: callbacks, and no coroutine a task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import nats
from nats.aio.msg import Msg

from bench.harness.errors import BenchError
from bench.harness.load import Load

PATIENCE: Final = 120.0
"""Seconds for a whole run. A floor redelivers nothing: for what is lost it would wait for ever."""


async def submit(
    url: str,
    task: Callable[[str], tuple[str, dict[str, str]]],
    results: str,
    count: int,
    outstanding: int,
    payload: bytes,
) -> Load:
    """``count`` tasks, ``outstanding`` at a time. The whole ends when all PubAcks have come
    too, as it does for ours.

    Args:
        task: the subject and the headers of a task with the id ``<client>.<number>``.
        results: a task's result is heard on this subject with ``.<client>.<number>`` behind.

    Raises:
        BenchError: not all were done within ``PATIENCE``.
    """
    nc = await nats.connect(url)
    client = nc.new_inbox().rsplit(".", 1)[1]
    gate = asyncio.Semaphore(outstanding)
    begun: dict[str, float] = {}
    took: list[float] = []
    done = asyncio.Event()
    acks = 0

    def check() -> None:
        if len(took) == count and acks == count:
            done.set()

    async def on_result(message: Msg) -> None:
        start = begun.pop(message.subject.rsplit(".", 1)[1], None)
        if start is not None:
            took.append(time.perf_counter() - start)
            gate.release()
            check()

    async def on_ack(_: Msg) -> None:
        nonlocal acks
        acks += 1
        check()

    await nc.subscribe(
        f"{results}.{client}.*", cb=on_result, pending_msgs_limit=-1, pending_bytes_limit=-1
    )
    inbox = nc.new_inbox()
    await nc.subscribe(inbox, cb=on_ack, pending_msgs_limit=-1, pending_bytes_limit=-1)
    start = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            for number in range(count):
                await gate.acquire()
                key = str(number)
                begun[key] = time.perf_counter()
                subject, headers = task(f"{client}.{key}")
                await nc.publish(subject, payload, reply=inbox, headers=headers)
            await done.wait()
        return Load(time.perf_counter() - start, took)
    except TimeoutError as error:
        raise BenchError(
            f"after {PATIENCE:g} s {len(took)} of {count} results had come on {results}"
        ) from error
    finally:
        await nc.close()
