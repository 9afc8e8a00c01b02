"""Edge agents in this process, on a loop that is there already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bus.testing import eventually
from edge.agent import Agent
from edge.runtime import Runtime


@asynccontextmanager
async def running(
    agent: Agent, url: str, fleet: str, join: bool = True, **settings: Any
) -> AsyncIterator[Runtime]:
    """``agent`` until the end, when it stops in order. With ``join`` it has joined."""
    runtime = Runtime(agent, {"url": url, "fleet": fleet, "reconnect_max": 0.2, **settings})
    serving = asyncio.create_task(runtime.serve(lambda stop: None))
    try:
        if join:
            await eventually(lambda: runtime.joined or serving.done())
            assert not serving.done(), serving.result()
        yield runtime
    finally:
        runtime.stopping.set()
        await asyncio.wait_for(serving, 20)
