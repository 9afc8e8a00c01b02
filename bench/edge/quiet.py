"""A device that has nothing to do: ``python -m bench.edge.quiet URL FLEET FACTOR SECONDS``.

It has the settings of the ``wan`` profile, and lives ``FACTOR`` times as fast: the intervals of
heartbeats, leases and pings are divided by it. Once heartbeats have become as rare as they get
it says ``ready``, and after so many seconds what it heard and said, as a ``Heard``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from random import Random
from typing import Any

import msgspec

from bench.edge.frames import by_kind
from bench.edge.link import Link
from bench.edge.profiles import profile
from bus.testing import eventually
from edge import port
from edge.agent import Agent
from edge.runtime import Runtime


class Heard(msgspec.Struct):
    """What passed."""

    kinds: dict[str, list[int]]
    """Messages, bytes from the device and bytes to it."""
    segments: int
    seconds: float


async def quiet(url: str, fleet: str, factor: float, seconds: float) -> None:
    """Say how it is, then what passed."""
    link = Link(profile("lan"), Random(1))
    changed: dict[str, Any] = {"connect": link.connect, "say": lambda text: None}
    for name, value in changed.items():
        setattr(port, name, value)
    agent = Agent("quiet-00001", site="field")

    @agent.capability("measure", params={"seconds": float})
    async def measure(task: object, seconds: float) -> float:
        return seconds

    runtime = Runtime(agent, {"url": url, "fleet": fleet, "profile": "wan"})
    settings = runtime.settings
    idle = settings["idle"] / factor
    settings.update(idle=idle, lease=settings["lease"] / factor, ping=settings["ping"] / factor)
    serving = asyncio.create_task(runtime.serve(lambda stop: None))
    await eventually(lambda: runtime.joined, 10)
    presence = runtime.presence
    presence.policy = {**presence.policy, "interval": presence.policy["interval"] / factor}
    # Each pause is twice the last one, up to ``idle``.
    await asyncio.sleep(4 * idle)
    print("ready", flush=True)
    link.record = []
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.sleep(seconds)
    recorded, passed = link.record, loop.time() - begun
    link.record = None
    heard = Heard(by_kind(recorded), len(recorded), passed)
    print(msgspec.json.encode(heard).decode(), flush=True)
    runtime.stopping.set()
    await serving


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(quiet(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
