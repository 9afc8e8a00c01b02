"""The rivals' agents in the mixed fleet, as one writes them on bare nats-py.

Every agent serves all rivals, each with slots of its own: one subject for those whose clients
choose the agent, a queue group, and a JetStream work queue that each slot pulls from.
``python -m bench.routing.rival_agents URL KIND`` runs the agents of one kind.
"""

from __future__ import annotations

import asyncio
import sys

import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from bench.routing import blocked_loop
from bench.routing.mixed_fleet import SLOTS, Kind, kind_named

RANDOM, ROUND_ROBIN, GROUP = "routing.random", "routing.turns", "routing.group"
"""Subjects; of the first two with the agent's id behind."""

WORKERS = "workers"
TASKS, RESULTS = "queue.task", "queue.result"
TASK_STREAM = "QUEUE_TASKS"
"""Of ``bench.sides.work_queue``, whose streams and consumer this work queue is."""


def command(url: str, kind: Kind) -> tuple[str, ...]:
    """What ``spawn`` starts the agents of a kind with."""
    return ("-m", "bench.routing.rival_agents", url, kind.name)


class Handler:
    """Answers requests, ``SLOTS`` at a time; the others wait in its queue."""

    def __init__(self, slowness: float) -> None:
        self._slowness = slowness
        self._waiting: asyncio.Queue[Msg] = asyncio.Queue()

    async def start(self, nc: Client, subject: str, queue: str = "") -> list[asyncio.Task[None]]:
        """Subscribe, and run the slots."""
        await nc.subscribe(
            subject, queue, cb=self._take, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        return [asyncio.create_task(self._slot()) for _ in range(SLOTS)]

    async def _take(self, message: Msg) -> None:
        self._waiting.put_nowait(message)

    async def _slot(self) -> None:
        while True:
            message = await self._waiting.get()
            await asyncio.sleep(float(message.data) * self._slowness)
            await message.respond(b"")


async def pull(js: JetStreamContext, slowness: float) -> None:
    """One slot that fetches from the work queue when it is free."""
    fetching = await js.pull_subscribe_bind(WORKERS, TASK_STREAM)
    while True:
        try:
            [message] = await fetching.fetch(1, timeout=5)
        except TimeoutError:  # nothing waits; nats-py raises Python's own at times, not its own
            continue
        await asyncio.sleep(float(message.data) * slowness)
        subject = message.subject.replace(TASKS, RESULTS, 1)
        await js.publish(subject, b"", headers={"Nats-Expected-Last-Subject-Sequence": "0"})
        await message.ack()


async def serve(url: str, kind: Kind) -> None:
    """Run until the process is ended."""
    working: list[asyncio.Task[None]] = []
    for name in kind.names:
        nc = await nats.connect(url)
        js = nc.jetstream()
        for subject, queue in (
            (f"{RANDOM}.{name}", ""),
            (f"{ROUND_ROBIN}.{name}", ""),
            (GROUP, WORKERS),
        ):
            working += await Handler(kind.slowness).start(nc, subject, queue)
        working += [asyncio.create_task(pull(js, kind.slowness)) for _ in range(SLOTS)]
        await nc.flush()
    print("ready", flush=True)
    if kind.stalls:
        working.append(asyncio.create_task(blocked_loop.obey()))
    await asyncio.gather(*working)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], kind_named(sys.argv[2])))
