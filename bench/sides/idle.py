"""Processes that connect and do nothing, to see what that costs.

``python -m bench.sides.idle ARGUMENTS`` is another matter: it runs ``python ARGUMENTS`` to its
end and says how long that took and how much memory it had at its largest.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import Final

from bench.harness.servers import FLEET

AGENT: Final = """
from agent_runtime import Agent

agent = Agent({name!r})


@agent.capability("echo")
async def echo(text: str) -> str:
    return text
"""
"""A file for ``fleetbus agent run FILE:agent``."""

_WAIT: Final = "print('ready', flush=True); await asyncio.Event().wait()"


def bare(url: str) -> tuple[str, ...]:
    """What ``spawn`` starts the floor with: nats-py, connected."""
    return (
        "-c",
        "import asyncio, nats\n"
        "async def main():\n"
        f"    nc = await nats.connect({url!r})\n"
        f"    {_WAIT}\n"
        "asyncio.run(main())",
    )


def client(url: str) -> tuple[str, ...]:
    """What ``spawn`` starts a client of ours with, connected."""
    return (
        "-c",
        "import asyncio, bus\n"
        "async def main():\n"
        f"    async with bus.Client.connect({url!r}, {FLEET!r}):\n"
        f"        {_WAIT}\n"
        "asyncio.run(main())",
    )


def ended(*arguments: str) -> tuple[str, ...]:
    """What ``spawn`` starts a command with that ends by itself; it then says ``ready``, the
    seconds that it took, and its largest resident memory in KiB."""
    return ("-m", "bench.sides.idle", *arguments)


if __name__ == "__main__":
    begun = time.perf_counter()
    subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - begun
    print(f"ready {took} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}", flush=True)
