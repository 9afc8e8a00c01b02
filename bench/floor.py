"""The floor: the messages of one durable task on bare nats-py, with no framework.

The same path as ours, hop by hop: submit into a work queue, pull by credit, forward to an
agent with the ack subject in a header, publish the result with an expected last sequence of 0,
acknowledge when it is stored. The same processes too: a submitter, a coordinator, two agents.
What a real system needs beside it is left out: no redelivery, no liveness, no selectors, no
schemas, one capability, round robin instead of routing.

Run by ``python -m bench``; each role is a process: ``python -m bench.floor agent URL NAME``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import nats
import uvloop
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

WINDOW = 256
REPORT = 64
"""Finished tasks after which an agent says so."""


async def setup(url: str) -> None:
    """Create the streams."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    await js.add_stream(
        StreamConfig(
            name="FLOOR_TASKS",
            subjects=["floor.task.>"],
            storage=StorageType.FILE,
            retention=RetentionPolicy.WORK_QUEUE,
        )
    )
    await js.add_stream(
        StreamConfig(
            name="FLOOR_RESULTS",
            subjects=["floor.result.>"],
            storage=StorageType.FILE,
            max_age=3600,
            allow_direct=True,
        )
    )
    await js.add_consumer(
        "FLOOR_TASKS",
        ConsumerConfig(
            durable_name="echo",
            filter_subject="floor.task.echo.>",
            ack_wait=10,
            max_ack_pending=20_000,
        ),
    )
    await nc.close()


async def coordinator(url: str) -> None:
    """Pull as many as the agents have room for, and forward them in turn."""
    nc = await nats.connect(url)
    room: dict[str, int] = {}
    reported: dict[str, int] = {}
    order: list[str] = []
    requested = 0
    turn = 0
    wake = asyncio.Event()

    async def on_load(message: Msg) -> None:
        name, finished = message.data.decode().split()
        if name not in room:
            room[name], reported[name] = WINDOW, 0
            order.append(name)
        room[name] += int(finished) - reported[name]
        reported[name] = int(finished)
        wake.set()

    async def on_task(message: Msg) -> None:
        nonlocal requested, turn
        headers = message.headers
        if headers is None or "Status" in headers:
            requested = 0
            wake.set()
            return
        requested -= 1
        turn += 1
        name = order[turn % len(order)]
        room[name] -= 1
        headers["Ack"] = message.reply
        await nc.publish(f"floor.dispatch.{name}", message.data, reply="", headers=headers)
        if requested < 200:
            wake.set()

    await nc.subscribe("floor.load.*", cb=on_load)
    inbox = nc.new_inbox()
    await nc.subscribe(inbox, cb=on_task, pending_msgs_limit=-1, pending_bytes_limit=-1)
    print("ready", flush=True)
    while True:
        await wake.wait()
        wake.clear()
        free = sum(max(0, one) for one in room.values()) - requested
        if free >= 100:
            batch = min(free, 1000)
            requested += batch
            body = json.dumps({"batch": batch, "expires": 10_000_000_000}).encode()
            await nc.publish("$JS.API.CONSUMER.MSG.NEXT.FLOOR_TASKS.echo", body, reply=inbox)


async def agent(url: str, name: str) -> None:
    """Answer each task with its own payload: result first, then the ack."""
    nc = await nats.connect(url)
    finished = reported = number = 0
    unstored: dict[str, str] = {}
    inbox = nc.new_inbox()

    async def on_stored(message: Msg) -> None:
        await nc.publish(unstored.pop(message.subject.rsplit(".", 1)[1]), b"+ACK")

    async def on_task(message: Msg) -> None:
        nonlocal finished, reported, number
        headers = message.headers or {}
        finished += 1
        number += 1
        token = str(number)
        unstored[token] = headers["Ack"]
        await nc.publish(
            f"floor.result.{headers['Id']}",
            message.data,
            reply=f"{inbox}.{token}",
            headers={"Nats-Expected-Last-Subject-Sequence": "0"},
        )
        if finished - reported >= REPORT:
            reported = finished
            await nc.publish(f"floor.load.{name}", f"{name} {finished}".encode())

    await nc.subscribe(f"{inbox}.*", cb=on_stored, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await nc.subscribe(
        f"floor.dispatch.{name}", cb=on_task, pending_msgs_limit=-1, pending_bytes_limit=-1
    )
    print("ready", flush=True)
    while True:
        await nc.publish(f"floor.load.{name}", f"{name} {finished}".encode())
        reported = finished
        await asyncio.sleep(0.05)


async def submit(url: str, count: int, outstanding: int, payload: bytes) -> list[float]:
    """Submit ``count`` tasks, ``outstanding`` at a time; the seconds that each took, and last
    the seconds of the whole. A task counts as submitted when its PubAck has come, as ours."""
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
        f"floor.result.{client}.*", cb=on_result, pending_msgs_limit=-1, pending_bytes_limit=-1
    )
    inbox = nc.new_inbox()
    await nc.subscribe(inbox, cb=on_ack, pending_msgs_limit=-1, pending_bytes_limit=-1)
    start = time.perf_counter()
    for number in range(count):
        await gate.acquire()
        key = str(number)
        begun[key] = time.perf_counter()
        task_id = f"{client}.{key}"
        await nc.publish(
            f"floor.task.echo.{task_id}",
            payload,
            reply=inbox,
            headers={"Id": task_id, "Nats-Msg-Id": task_id},
        )
    await done.wait()
    whole = time.perf_counter() - start
    await nc.close()
    return [*took, whole]


if __name__ == "__main__":
    role, address, *rest = sys.argv[1:]
    uvloop.run(coordinator(address) if role == "coordinator" else agent(address, rest[0]))
