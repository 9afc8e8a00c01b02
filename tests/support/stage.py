"""One of each in this process, and a connection that sends whatever it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from agent_runtime import Agent
from agent_runtime.runtime import Runtime
from bus import Client
from bus.testing import fleet as own_fleet
from bus.topology import TopologySettings
from coordinator import Coordinator
from tests.support.raw import RawConnection

SETTINGS: Final = TopologySettings(ack_wait=1.0)
"""So that what is not dealt with at once comes round again within the test."""


@dataclass
class Stage:
    """One of each, in this process."""

    fleet: str
    coordinator: Coordinator
    agent: Runtime
    client: Client
    raw: RawConnection
    ran: list[str]

    def subject(self, rest: str) -> bytes:
        return f"fleet.{self.fleet}.{rest}".encode()

    async def works(self) -> None:
        """A real task and a call are done, and nobody was disconnected on the way."""
        handle = await self.client.submit("echo", {"text": "real"})
        assert await handle.result(timeout=5) == "real"
        assert await self.client.call("echo", {"text": "real"}, timeout=5) == "real"
        buses = (self.coordinator.bus, self.agent.bus, self.client.bus)
        assert [bus.generation for bus in buses] == [0, 0, 0]

    async def waiting(self) -> int:
        """Tasks that have not ended."""
        stream = self.client.bus.subjects.tasks_stream
        info = await self.client.bus.api(f"STREAM.INFO.{stream}")
        return int(info["state"]["messages"])

    async def dead(self) -> list[str]:
        return [f"{one.task}: {one.error.message}" async for one in self.client.dead.list()]


@asynccontextmanager
async def staged(nats_url: str) -> AsyncIterator[Stage]:
    """A fleet of its own with all three in it."""
    ran: list[str] = []
    agent = Agent("a1", slots=4, grace=1.0)

    @agent.capability("echo")
    async def echo(text: str) -> str:
        ran.append(text)
        return text

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        fleet = await enter(own_fleet(nats_url, settings=SETTINGS))
        coordinator = await enter(
            Coordinator.connect(nats_url, fleet, name="c1", topology_settings=SETTINGS)
        )
        runtime = await enter(agent.connect(nats_url, fleet))
        client = await enter(Client.connect(nats_url, fleet))
        yield Stage(fleet, coordinator, runtime, client, await enter(RawConnection(nats_url)), ran)
