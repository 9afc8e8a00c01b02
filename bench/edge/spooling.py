"""A device that was cut off: ``python -m bench.edge.spooling URL FLEET COUNT FOLDER``.

It joins, loses its link, takes ``COUNT`` readings, which go to its spool, and says ``ready``. A
line on its standard input mends the link; it then says when it was connected and when nothing
was left in the spool, in seconds of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from random import Random
from typing import Any, Final

from bench.edge.link import Link
from bench.edge.profiles import profile
from bench.harness.errors import BenchError
from bus.testing import eventually
from edge import port
from edge.agent import Agent
from edge.runtime import Runtime

NAME: Final = "spooling-1"
SPOOL: Final = 1_048_576
"""Bytes: all readings find room."""
RECONNECT: Final = 0.2
"""Seconds of the longest pause between two tries to connect: not what is measured."""


async def spooling(url: str, fleet: str, count: int, folder: str) -> None:
    """As above."""
    link = Link(profile("lan"), Random(1))
    changed: dict[str, Any] = {"connect": link.connect, "say": lambda text: None}
    for name, value in changed.items():
        setattr(port, name, value)
    agent = Agent(NAME)

    @agent.telemetry("count", every=86_400)
    async def unused() -> None:
        """Readings are handed over below; this makes it an agent that has some."""

    settings = {"url": url, "fleet": fleet, "spool": folder, "spool_bytes": SPOOL}
    runtime = Runtime(agent, {**settings, "reconnect_max": RECONNECT})
    serving = asyncio.create_task(runtime.serve(lambda stop: None))
    await eventually(lambda: runtime.joined, 10)
    outbox = runtime.outbox
    if outbox is None:
        raise BenchError("an edge agent with a spool has no outbox")
    link.cut()
    link.reset()
    await eventually(lambda: not runtime.client.connected, 10)
    subject = f"{runtime.root}telemetry.default.{NAME}.count"
    for number in range(count):
        said = {"series": "count", "at_ms": runtime.now(), "readings": [[0, number]]}
        await outbox.send(subject, json.dumps({**said, "agent": NAME}).encode())
    kept = outbox.report()["spooled"]
    if kept != count:
        raise BenchError(f"{kept} of {count} readings are in the spool")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    link.heal()
    await runtime.client.up.wait()
    connected = time.monotonic()
    await eventually(lambda: not outbox.report()["spooled"], 60)
    print(connected, time.monotonic(), flush=True)
    runtime.stopping.set()
    await serving


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(spooling(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
