"""Our side of the comparisons, in the same kinds of processes as the floors.

Each role is a process: ``python -m bench.sides.ours agent URL NAME SLOTS``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Literal

from bench.harness.load import Load, closed_loop
from bench.harness.servers import FLEET
from bus import Client
from bus.topology import TopologySettings

MODULE = "bench.sides.ours"


def coordinator_command(url: str, storage: Literal["file", "memory"] = "file") -> tuple[str, ...]:
    """What ``spawn`` starts an ordinary coordinator with."""
    return ("-m", MODULE, "coordinator", url, storage)


def agent_command(url: str, name: str, slots: int = 32) -> tuple[str, ...]:
    """What ``spawn`` starts an agent with."""
    return ("-m", MODULE, "agent", url, name, str(slots))


async def coordinator(url: str, storage: Literal["file", "memory"]) -> None:
    """An ordinary coordinator."""
    from coordinator import Coordinator

    kept = TopologySettings(storage=storage)
    async with Coordinator.connect(url, FLEET, topology_settings=kept):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def agent(url: str, name: str, slots: int) -> None:
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


async def submit(url: str, count: int, outstanding: int, payload: bytes) -> Load:
    """``count`` tasks through the public client, ``outstanding`` at a time."""
    async with Client.connect(url, FLEET) as client:

        async def one() -> None:
            handle = await client.submit("echo", payload)
            result = await handle.outcome()
            if result.state != "completed":
                raise result.failure()

        return (await closed_loop(one, count, outstanding)).check()


if __name__ == "__main__":
    import uvloop

    role, address, *rest = sys.argv[1:]
    if role == "coordinator":
        uvloop.run(coordinator(address, "memory" if rest == ["memory"] else "file"))
    else:
        uvloop.run(agent(address, rest[0], int(rest[1])))
