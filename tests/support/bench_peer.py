"""A peer made up for tests: ``python -m tests.support.bench_peer ROLE JSON`` in our environment.

Its driver answers each task itself. With ``late`` it fails every task of its third order, and
with ``typed`` it does not even start.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys

from bench.peers.scripts.loop import Order, closed_loop
from bench.peers.scripts.script import Setup, answer, ready


async def work() -> None:
    ready()
    await asyncio.Event().wait()


async def drive(setup: Setup) -> None:
    ready("nats-py")
    for number in itertools.count(1):
        if not (line := await asyncio.to_thread(sys.stdin.readline)):
            return
        fails = setup.late and number == 3
        tally = await closed_loop(_fail if fails else answer, Order(**json.loads(line)))
        print("\n".join(tally.lines()), flush=True)


async def _fail(data: str) -> str:
    raise RuntimeError("it does not feel like it")


if __name__ == "__main__":
    read = Setup.read()
    if read.typed:
        sys.exit("there is nothing to be had here")
    asyncio.run(drive(read) if read.role == "driver" else work())
