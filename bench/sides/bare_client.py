"""Submits tasks on bare nats-py, as fast as it can: callbacks, and no coroutine a task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import nats
from nats.aio.msg import Msg

from bench.harness.load import Load


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
    for number in range(count):
        await gate.acquire()
        key = str(number)
        begun[key] = time.perf_counter()
        subject, headers = task(f"{client}.{key}")
        await nc.publish(subject, payload, reply=inbox, headers=headers)
    await done.wait()
    whole = time.perf_counter() - start
    await nc.close()
    return Load(whole, took)
