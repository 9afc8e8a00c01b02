"""Stands still on request: what a blocking handler or a paused machine does to an agent."""

from __future__ import annotations

import asyncio
import sys
import time

from bench.harness.processes import Child
from bench.routing.mixed_fleet import stalls


async def announce(children: list[Child], begin: float, seconds: float, seed: int) -> None:
    """Tell processes that ``obey`` when they are to stand still: in a run that begins at
    ``begin`` on the monotonic clock, which all processes share.

    Raises:
        ChildFailed: one has ended.
    """
    for child in children:
        await child.tell(f"{begin} {seconds} {seed}")


def stand_still(seconds: float) -> None:
    """Block whoever calls, as a handler does that should have been a plain function."""
    time.sleep(seconds)


async def obey() -> None:
    """Read announcements from standard input, and block the event loop accordingly. Ends with
    the input."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        begin, seconds, seed = line.split()
        for since, until in stalls(float(seconds), int(seed)):
            await asyncio.sleep(max(0.0, float(begin) + since - time.monotonic()))
            stand_still(max(0.0, float(begin) + until - time.monotonic()))
