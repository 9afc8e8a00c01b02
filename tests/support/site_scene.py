"""A hub and one site with all that belongs to them, for tests of what crosses the link."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_runtime import Agent
from bus import Client, store
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire import headers as h
from coordinator import Coordinator
from coordinator.sites.hub import HubSites
from coordinator.sites.uplink import Uplink
from tests.support.cli import Done, fleetbus
from tests.support.sites import Land, land


def worker(name: str, site: str, ran: list[str], *capabilities: str) -> Agent:
    """An agent that offers ``echo``, or others that do the same, and notes what it ran."""
    agent = Agent(name, site=site, slots=8, grace=1.0)

    async def echo(text: str) -> str:
        ran.append(text)
        return f"{text} at {site}"

    for capability in capabilities or ("echo",):
        agent.capability(capability)(echo)
    return agent


@dataclass
class Scene:
    """A hub and the site s1, a coordinator each, an agent at the site, a client on each side."""

    there: Land
    stack: AsyncExitStack
    staff: AsyncExitStack
    """Of the hub's coordinator."""
    hub: Coordinator
    site: Coordinator
    above: Client
    below: Client
    ran: list[str]

    @property
    def sites(self) -> HubSites:
        assert isinstance(self.hub.sites, HubSites)
        return self.hub.sites

    @property
    def uplink(self) -> Uplink:
        assert isinstance(self.site.sites, Uplink)
        return self.site.sites

    def connected(self) -> bool:
        return "s1" in self.sites.links and self.sites.links["s1"].place.connected

    async def fleetbus(self, *command: str) -> Done:
        """Run a command against the hub, to its end."""
        return await fleetbus(*command, "-u", self.there.hub.url, "-f", self.there.fleet)

    async def agent(self, url: str, agent: Agent) -> Any:
        """Run an agent until the end."""
        return await self.stack.enter_async_context(agent.connect(url, self.there.fleet))

    async def restart(self, **options: Any) -> None:
        """Another coordinator at the hub in the place of the one that there was."""
        await self.staff.aclose()
        made = Coordinator.connect(self.there.hub.url, self.there.fleet, **options)
        self.hub = await self.staff.enter_async_context(made)

    async def cut(self) -> None:
        """Cut the link, and wait until the hub has noticed."""
        self.there.links["s1"].sever()
        await eventually(lambda: not self.connected(), timeout=8)

    async def mend(self) -> None:
        """Mend it, and wait until the site reports."""
        self.there.links["s1"].mend()
        await eventually(self.connected, timeout=10)

    async def has(self, client: Client, count: int) -> bool:
        """One side has so many results."""
        return len(await self.results(client)) >= count

    async def events(self, client: Client, kind: str) -> list[Inbound]:
        """Those of one kind that one side has."""
        subjects = client.bus.subjects
        pattern = subjects.event(kind, "*")
        return [one async for one in store.scan(client.bus, subjects.events_stream, pattern)]

    async def results(self, client: Client) -> Counter[str]:
        """Task ids of the results that one side has, each as often as it is stored."""
        subjects = client.bus.subjects
        prefix = len(subjects.results.removesuffix("*.*"))
        return Counter(
            [
                h.find(one.block, "Nats-Subject")[prefix:]
                async for one in store.scan(client.bus, subjects.results_stream, subjects.results)
            ]
        )


@asynccontextmanager
async def scene(
    directory: Path, secure: Path | None = None, **options: Any
) -> AsyncIterator[Scene]:
    """A hub and one site. ``secure``: a folder of certificates, for TLS on the link. ``options``
    of both coordinators."""
    ran: list[str] = []
    async with (
        land(directory, "s1", secure=secure) as there,
        AsyncExitStack() as stack,
        AsyncExitStack() as staff,
    ):
        enter = stack.enter_async_context
        hub, site, fleet = there.hub.url, there["s1"].url, there.fleet
        quick: dict[str, Any] = {"reconnect_max": 0.3, "request_timeout": 2.0}
        made = Scene(
            there,
            stack,
            staff,
            await staff.enter_async_context(
                Coordinator.connect(hub, fleet, name="h1", **quick, **options)
            ),
            await enter(Coordinator.connect(site, fleet, name="l1", site="s1", **quick, **options)),
            await enter(Client.connect(hub, fleet, **quick)),
            await enter(Client.connect(site, fleet, **quick)),
            ran,
        )
        await made.agent(site, worker("a1", "s1", ran))
        await eventually(made.connected)
        yield made


class Patient:
    """An agent whose only capability, ``wait``, ends when it is told to, or is canceled."""

    def __init__(self, name: str, site: str = "default", slots: int = 1) -> None:
        self.begun: list[str] = []
        self.canceled: list[str] = []
        self.go_on = asyncio.Event()
        self.agent = Agent(name, site=site, slots=slots, grace=1.0)

        @self.agent.capability("wait")
        async def wait(text: str) -> str:
            self.begun.append(text)
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.canceled.append(text)
                raise
            return f"{text} at {site}"
