"""What an idle agent costs: memory, and the time from start to its first heartbeat."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from bench import ours
from bench.processes import spawn
from bench.report import Row, at_most
from bus import Client

AGENT = """
from agent_runtime import Agent

agent = Agent({name!r})


@agent.capability("echo")
async def echo(text: str) -> str:
    return text
"""


async def run(url: str, rounds: int) -> list[Row]:
    """Starts ``fleetbus agent run`` as a user would."""
    sizes: list[float] = []
    starts: list[float] = []
    async with Client.connect(url, ours.FLEET) as client:
        coordinator = await spawn("-m", "bench.ours", "coordinator", url)
        try:
            for number in range(rounds):
                name = f"idle{number}"
                heard = asyncio.create_task(_first_heartbeat(client, name))
                await client.bus.flush()
                with tempfile.TemporaryDirectory() as directory:
                    file = Path(directory, "idle_agent.py")
                    file.write_text(AGENT.format(name=name))
                    begun = time.perf_counter()
                    child = await spawn(
                        "-m", "fleetbus", "agent", "run", f"{file}:agent",
                        "--url", url, "--fleet", ours.FLEET,
                    )  # fmt: skip
                    starts.append(await heard - begun)
                    await asyncio.sleep(2)  # idle, on purpose: this is what is measured
                    sizes.append(child.rss())
                    await child.stop()
        finally:
            await coordinator.stop()
    return [
        Row("idle", "agent process, resident", tuple(sizes), "MB", "≤ 45", at_most(45, sizes)),
        Row("idle", "start to first heartbeat", tuple(starts), "s", "≤ 0.6", at_most(0.6, starts)),
    ]


async def _first_heartbeat(client: Client, name: str) -> float:
    async for seen in client.watch(f"hb.*.{name}"):
        del seen
        return time.perf_counter()
    raise RuntimeError("the watch ended")
