"""Our side of the comparisons, in the same processes as the floor.

Run by ``python -m bench``; each role is a process: ``python -m bench.ours agent URL NAME``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from bus import Client

FLEET = "bench"


async def coordinator(url: str) -> None:
    """An ordinary coordinator."""
    from coordinator import Coordinator

    async with Coordinator.connect(url, FLEET):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def agent(url: str, name: str, slots: int = 32) -> None:
    """An agent that answers with its own payload, or takes half a second over it."""
    from agent_runtime import Agent

    declared = Agent(name, slots=slots)

    @declared.capability("echo")
    async def echo(data: bytes) -> bytes:
        return data

    @declared.capability("nap")
    async def nap(log: str, seconds: float = 0.5) -> str:
        note(log, f"{time.time()} {name}\n")
        await asyncio.sleep(seconds)
        return name

    async with declared.connect(url, FLEET):
        print("ready", flush=True)
        await asyncio.Event().wait()


def note(log: str, line: str) -> None:
    """Append to a file that all agents share."""
    with Path(log).open("a") as file:
        file.write(line)


async def submit(url: str, count: int, outstanding: int, payload: bytes) -> list[float]:
    """As ``floor.submit``, through the public client."""
    took: list[float] = []
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            start = time.perf_counter()
            handle = await client.submit("echo", payload)
            result = await handle.outcome()
            if result.state != "completed":
                raise result.failure()
            took.append(time.perf_counter() - start)

    async with Client.connect(url, FLEET) as client:
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(outstanding):
                group.create_task(worker())
        return [*took, time.perf_counter() - start]


if __name__ == "__main__":
    import uvloop

    role, address, *rest = sys.argv[1:]
    if role == "coordinator":
        uvloop.run(coordinator(address))
    else:
        uvloop.run(agent(address, rest[0], int(rest[1]) if len(rest) > 1 else 32))
