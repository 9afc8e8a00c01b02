"""One round of ``edge-site``: a hub and a site at work, the link cut and mended, and what came of
every task."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.edge import broker
from bench.harness import notes
from bench.harness.processes import Child, spawn
from bench.harness.servers import FLEET
from bench.sides import noting, product
from bench.sites.judge import Verdict, judge
from bench.sites.land import SITE, Land, land
from bench.sites.proxy import Fault
from bench.sites.submitter import Submitter
from bus import Client
from bus.testing import eventually
from fleetbus import site_list

AGENTS: Final = ("s0", "s1")
SLOTS: Final = 16
AT_SITE: Final = 30.0
"""Tasks a second that are submitted at the site."""
AT_HUB: Final = 10.0
"""And at the hub, for the site."""
GIVEN_UP: Final = 30.0
"""Seconds without a further result at the hub after which the rest is lost."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each part."""

    idle: float
    before: float
    away: float
    after: float


@dataclass(frozen=True)
class Seen:
    """What a round has shown. Times are of the machine's monotonic clock."""

    severed: float
    mended: float
    begun: float
    """When the load began."""
    ended: float
    """When it ended."""
    linked: float | None
    """When the site's server connected to the hub's again; None if it had not noticed."""
    idle_bytes: float
    """That passed the link an hour while nothing was to be done."""
    task_bytes: float
    """That passed it for each task while it was up."""
    site: Submitter
    hub: Submitter
    verdict: Verdict
    first: float
    """Seconds from the mended link until the hub had the first result that had waited at the
    site; 0 if none had."""
    last: float
    """And the last."""
    again: int
    """Handlers that were started for a task that had been started before."""


@dataclass
class Play:
    """Servers, processes and clients of one round."""

    there: Land
    above: Client
    """At the hub."""
    below: Client
    """At the site."""
    notebook: Path
    children: list[Child]

    async def perform(self, times: Times, fault: Fault, show: Callable[[str], None]) -> Seen:
        """Idle, load, load without the link, load with it, and until all is done.

        Raises:
            ChildFailed: a coordinator or an agent ended.
        """
        link = self.there.link
        show(f"idle for {times.idle:g} s")
        await asyncio.sleep(1)  # what joining has to say
        crossed = link.bytes
        await asyncio.sleep(times.idle)
        idle = link.bytes - crossed
        site = Submitter(self.below, AT_SITE)
        hub = Submitter(self.above, AT_HUB, f"site={SITE}")
        total = times.before + times.away + times.after
        crossed, begun = link.bytes, time.monotonic()
        # Of the wall clock, which stamps what the servers store.
        wall = time.time() - begun
        async with asyncio.TaskGroup() as group:
            group.create_task(site.run(total))
            group.create_task(hub.run(total))
            show(f"{AT_SITE + AT_HUB:g} tasks a second for {times.before:g} s")
            await asyncio.sleep(times.before)
            busy = (link.bytes - crossed) / max(1, len(site.tasks) + len(hub.tasks))
            severed = time.monotonic()
            link.sever(fault)
            show(f"the same without the link for {times.away:g} s")
            await asyncio.sleep(times.away)
            link.mend()
            mended = time.monotonic()
            show(f"with the link again for {times.after:g} s")
            await asyncio.sleep(times.after)
            ended = time.monotonic()
            show("the rest")
        for child in self.children:
            child.check()
        accepted = site.tasks.keys() | hub.tasks.keys()
        await self._settled(accepted)
        told = {name for one in (site, hub) for name, task in one.tasks.items() if task.ended}
        verdict = judge(
            accepted,
            told,
            await broker.results(self.above.bus),
            await broker.results(self.below.bus),
            (severed + wall, mended + wall),
        )
        return Seen(
            severed=severed,
            mended=mended,
            begun=begun,
            ended=ended,
            linked=next((at for at in link.opened if at >= mended), None),
            idle_bytes=idle * 3600 / times.idle,
            task_bytes=busy,
            site=site,
            hub=hub,
            verdict=verdict,
            first=verdict.first - wall - mended if verdict.queued else 0.0,
            last=verdict.last - wall - mended if verdict.queued else 0.0,
            again=notes.duplicated(notes.read(self.notebook), ()),
        )

    async def _settled(self, accepted: set[str]) -> None:
        """Until the hub has all results, or no more have come for a while."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < GIVEN_UP:
            found = {one.task for one in await broker.results(self.above.bus)}
            if accepted <= found:
                return
            if len(found) > seen:
                seen, since = len(found), time.monotonic()
            await asyncio.sleep(0.2)


@asynccontextmanager
async def play() -> AsyncIterator[Play]:
    """A hub and a site, a coordinator each, agents at the site, a client on each side; linked."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        there = await stack.enter_async_context(land(directory))
        notebook = directory / "notes"
        children: list[Child] = []

        async def stop() -> None:
            await asyncio.gather(*(child.stop() for child in children))

        stack.push_async_callback(stop)
        children.append(await spawn(*product.coordinator(there.hub, "h0")))
        children.append(await spawn(*product.coordinator(there.site, "l0", SITE)))
        for name in AGENTS:
            command = noting.command(there.site, name, SLOTS, str(notebook), SITE)
            children.append(await spawn(*command))
        above = await stack.enter_async_context(Client.connect(there.hub, FLEET))
        below = await stack.enter_async_context(Client.connect(there.site, FLEET))
        made = Play(there, above, below, notebook, children)
        await eventually(lambda: _joined(above), 30)
        yield made


async def _joined(above: Client) -> bool:
    """The hub sees the site and its agents."""
    record = (await site_list.records_of(above.bus)).get(SITE)
    cards = [card for card in await above.agents() if card.relay == SITE]
    return record is not None and record.connected and len(cards) == len(AGENTS)
