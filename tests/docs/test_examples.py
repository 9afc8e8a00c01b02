"""The examples run, as their first lines say."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from bus import Client
from bus.testing import eventually
from coordinator import Coordinator

ROOT = Path(__file__).resolve().parents[2]


async def test_submit_talks_to_the_summarizer(
    nats_url: str, fleet: str, coordinator: Coordinator, client: Client
) -> None:
    environment = {**os.environ, "FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": fleet}
    agent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetbus", "agent", "run", "examples/summarizer.py:agent"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:

        async def joined() -> bool:
            return bool(await client.agents())

        await eventually(joined, timeout=20)
        submitter = await asyncio.create_subprocess_exec(
            *(sys.executable, "examples/submit.py"),
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, _ = await submitter.communicate()
        assert submitter.returncode == 0
        assert output.decode().splitlines() == [
            "summary: {'text': 'Buses carry people.', 'words': 3}",
            "progress: 1",
            "progress: 2",
            "progress: 3",
            "counted to 3",
            "call: {'text': 'Now.', 'words': 1}",
        ]
    finally:
        agent.terminate()
        await agent.wait()
