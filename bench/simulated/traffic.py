"""How many messages a server handles, asked of the server itself in its system account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from bench.harness.servers import FLEET
from bus import Bus, codec, connect
from bus.server import NatsServer

EVERY: Final = 0.25
"""Seconds between two looks: peaks are averages over so long."""


class Traffic:
    """The peak since it was made, in messages a second, in and out together."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._at = 0.0
        self._messages = 0

    def take(self, messages: int, at: float) -> None:
        """The server has handled so many messages by then."""
        if self._at and at > self._at:
            self.peak = max(self.peak, (messages - self._messages) / (at - self._at))
        self._at, self._messages = at, messages


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


async def _watch(bus: Bus, traffic: Traffic) -> None:
    while True:
        answer = await bus.request("$SYS.REQ.SERVER.PING.STATSZ", timeout=60)
        state = codec.decode(dict[str, Any], answer.data, "state of the server")["statsz"]
        messages = state["received"]["msgs"] + state["sent"]["msgs"]
        traffic.take(messages, time.monotonic())
        await asyncio.sleep(EVERY)
