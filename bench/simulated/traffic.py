"""How many messages a server handles, and whom it cut off, asked in its system account."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from bench.harness.servers import FLEET
from bus import Bus, codec, connect
from bus.server import NatsServer

EVERY: Final = 0.25
"""Seconds between two looks."""

WINDOW: Final = 1.0
"""Seconds over which a peak is taken, at the least."""


class Traffic:
    """The peak since it was made, in messages a second, in and out together."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._taken: deque[tuple[float, int]] = deque()

    def take(self, messages: int, at: float) -> None:
        """The server has handled so many messages by then."""
        taken = self._taken
        taken.append((at, messages))
        while len(taken) > 1 and at - taken[1][0] >= WINDOW:
            taken.popleft()
        begun, before = taken[0]
        if at - begun >= WINDOW:
            self.peak = max(self.peak, (messages - before) / (at - begun))


@asynccontextmanager
async def watched(server: NatsServer) -> AsyncIterator[Traffic]:
    """Watch until left.

    Raises:
        ConnectError: the server is not there.
    """
    traffic = Traffic()
    async with connect(server.system_url, FLEET) as bus:
        task = asyncio.create_task(_watch(bus, traffic))
        try:
            yield traffic
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def slow_consumers(server: NatsServer) -> int:
    """How many connections the server has closed because they did not read.

    Raises:
        ConnectError: the server is not there.
    """
    async with connect(server.system_url, FLEET) as bus:
        return int((await _state(bus))["statsz"]["slow_consumers"])


async def _watch(bus: Bus, traffic: Traffic) -> None:
    while True:
        found = await _state(bus)
        state = found["statsz"]
        messages = state["received"]["msgs"] + state["sent"]["msgs"]
        # By the server's clock: an answer that comes late to us was counted in time.
        traffic.take(messages, datetime.fromisoformat(found["server"]["time"]).timestamp())
        await asyncio.sleep(EVERY)


async def _state(bus: Bus) -> dict[str, Any]:
    answer = await bus.request("$SYS.REQ.SERVER.PING.STATSZ", timeout=60)
    return codec.decode(dict[str, Any], answer.data, "state of the server")
