"""Our side of the mixed fleet: ordinary agents, several in a process.

``python -m bench.routing.our_agents URL KIND`` runs those of one kind.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import uvloop

from agent_runtime import Agent
from bench.harness.servers import FLEET
from bench.routing import blocked_loop
from bench.routing.mixed_fleet import SLOTS, Kind, kind_named

CAPABILITY = "work"


def command(url: str, kind: Kind) -> tuple[str, ...]:
    """What ``spawn`` starts the agents of a kind with."""
    return ("-m", "bench.routing.our_agents", url, kind.name)


def declared(name: str, slowness: float) -> Agent:
    """An agent that takes ``slowness`` times as long as it is asked to."""
    agent = Agent(name, slots=SLOTS)

    @agent.capability(CAPABILITY)
    async def work(length: float) -> None:
        await asyncio.sleep(length * slowness)

    return agent


async def serve(url: str, kind: Kind) -> None:
    """Run until the process is ended."""
    async with AsyncExitStack() as stack:
        for name in kind.names:
            await stack.enter_async_context(declared(name, kind.slowness).connect(url, FLEET))
        print("ready", flush=True)
        if kind.stalls:
            await blocked_loop.obey()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], kind_named(sys.argv[2])))
