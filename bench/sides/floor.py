"""The floor: the messages of one durable task on bare nats-py, with no framework.

The same path as ours, hop by hop: submit into a work queue, pull by credit, forward to an
agent with the ack subject in a header, publish the result with an expected last sequence of 0,
acknowledge when it is stored. The same processes too: a submitter, a coordinator, two agents.
What a real system needs beside it is left out: no redelivery, no liveness, no selectors, no
schemas, one capability, round robin instead of routing.

There are two. ``lean`` carries the least that the path can do with, and is what we are held
against. ``full`` carries what our messages carry (content type, trace context, timings) and has
the broker announce results as ours does: what is left between it and ours is our own code.

Each role is a process: ``python -m bench.sides.floor agent URL lean f1``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import nats
import uvloop
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, RePublish, RetentionPolicy, StorageType, StreamConfig

from bench.harness.load import Load
from bench.sides import bare_client

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass(frozen=True)
class Kind:
    """What a floor's messages carry."""

    name: str
    task_headers: dict[str, str] = field(default_factory=dict)
    result_headers: dict[str, str] = field(default_factory=dict)
    announced: bool = False
    """The broker announces stored results, instead of clients listening where agents publish."""


LEAN = Kind("lean")
FULL = Kind(
    "full",
    {"Content-Type": "application/octet-stream", "traceparent": TRACE},
    {
        "Fleet-State": "completed",
        "Content-Type": "application/octet-stream",
        "Fleet-Agent": "f1",
        "Fleet-Attempt": "1",
        "Fleet-Queued-Ms": "1.234",
        "Fleet-Run-Ms": "0.123",
        "traceparent": TRACE,
    },
    announced=True,
)
KINDS = {kind.name: kind for kind in (LEAN, FULL)}

WINDOW = 256
REPORT = 64
"""Finished tasks after which an agent says so."""


def commands(url: str, kind: Kind, agents: Sequence[str]) -> list[tuple[str, ...]]:
    """What ``spawn`` starts its coordinator and its agents with."""
    start = ("-m", "bench.sides.floor")
    return [
        (*start, "coordinator", url, kind.name),
        *((*start, "agent", url, kind.name, name) for name in agents),
    ]


async def setup(url: str, kind: Kind, storage: Literal["file", "memory"] = "file") -> None:
    """Create the streams."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    await js.add_stream(
        StreamConfig(
            name=f"FLOOR_TASKS_{kind.name}",
            subjects=[f"floor.{kind.name}.task.>"],
            storage=StorageType(storage),
            retention=RetentionPolicy.WORK_QUEUE,
        )
    )
    await js.add_stream(
        StreamConfig(
            name=f"FLOOR_RESULTS_{kind.name}",
            subjects=[f"floor.{kind.name}.result.>"],
            storage=StorageType(storage),
            max_age=3600,
            allow_direct=True,
            republish=RePublish(src=f"floor.{kind.name}.result.>", dest=f"floor.{kind.name}.done.>")
            if kind.announced
            else None,
        )
    )
    await js.add_consumer(
        f"FLOOR_TASKS_{kind.name}",
        ConsumerConfig(
            durable_name="echo",
            filter_subject=f"floor.{kind.name}.task.echo.>",
            ack_wait=10,
            max_ack_pending=20_000,
        ),
    )
    await nc.close()


async def coordinator(url: str, kind: Kind) -> None:
    """Pull as many as the agents have room for, and forward them in turn."""
    nc = await nats.connect(url)
    room: dict[str, int] = {}
    reported: dict[str, int] = {}
    order: list[str] = []
    requested = 0
    turn = 0
    wake = asyncio.Event()
    dispatch = f"floor.{kind.name}.dispatch"
    next_subject = f"$JS.API.CONSUMER.MSG.NEXT.FLOOR_TASKS_{kind.name}.echo"

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
        await nc.publish(f"{dispatch}.{name}", message.data, reply="", headers=headers)
        if requested < 200:
            wake.set()

    await nc.subscribe(f"floor.{kind.name}.load.*", cb=on_load)
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
            await nc.publish(next_subject, body, reply=inbox)


async def agent(url: str, kind: Kind, name: str) -> None:
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
            f"floor.{kind.name}.result.{headers['Id']}",
            message.data,
            reply=f"{inbox}.{token}",
            headers={"Nats-Expected-Last-Subject-Sequence": "0", **kind.result_headers},
        )
        if finished - reported >= REPORT:
            reported = finished
            await nc.publish(f"floor.{kind.name}.load.{name}", f"{name} {finished}".encode())

    await nc.subscribe(f"{inbox}.*", cb=on_stored, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await nc.subscribe(
        f"floor.{kind.name}.dispatch.{name}",
        cb=on_task,
        pending_msgs_limit=-1,
        pending_bytes_limit=-1,
    )
    print("ready", flush=True)
    while True:
        await nc.publish(f"floor.{kind.name}.load.{name}", f"{name} {finished}".encode())
        reported = finished
        await asyncio.sleep(0.05)


async def submit(url: str, kind: Kind, count: int, outstanding: int, payload: bytes) -> Load:
    """``count`` tasks, ``outstanding`` at a time."""
    root = f"floor.{kind.name}"
    return await bare_client.submit(
        url,
        lambda task: (
            f"{root}.task.echo.{task}",
            {"Id": task, "Nats-Msg-Id": task, **kind.task_headers},
        ),
        f"{root}.{'done' if kind.announced else 'result'}",
        count,
        outstanding,
        payload,
    )


if __name__ == "__main__":
    role, address, kind_name, *rest = sys.argv[1:]
    chosen = KINDS[kind_name]
    if role == "coordinator":
        uvloop.run(coordinator(address, chosen))
    else:
        uvloop.run(agent(address, chosen, rest[0]))
