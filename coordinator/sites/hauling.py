"""What a coordinator of the hub moves from one site: a pump for each of its streams."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Final

from bus import sites, store
from bus.background import Background
from bus.connection import Bus
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.task import ErrorInfo
from coordinator.sites import cancels, cargo, routes
from coordinator.sites.far import Far
from coordinator.sites.pump import Pump
from coordinator.sites.session import Outgoing, Route
from coordinator.turns import Turns

log = logging.getLogger("fleetbus.sites")

STUCK: Final = 3.0
"""Seconds that a lag may stay while nothing comes, before the stream is pulled anew."""


class Hauling:
    """One site's streams, as long as they are ours to move."""

    def __init__(self, bus: Bus, far: Far, inbox: str, site: str) -> None:
        """``inbox``: begins the reply subjects that may cross the link."""
        self.pumps: dict[str, Pump] = {}
        """By stream; none while another coordinator moves them."""
        self._bus = bus
        self._far = far
        self._inbox = inbox
        self._site = site
        self._running: list[asyncio.Task[None]] = []
        self._background = Background(log, f"canceling what site {site} has canceled")
        self._cancels = Turns(self._background, cancels.AT_ONCE)

    def begin(self) -> None:
        """Move from now on."""
        if self._running:
            return
        subjects = self._bus.subjects
        for stream in sites.up_streams(subjects):
            pump = Pump(self._bus, self._far, self._inbox, self._route(stream))
            self.pumps[stream] = pump
            self._running.append(asyncio.create_task(pump.run(), name=f"pump-{stream}"))

    async def end(self) -> None:
        """Move nothing any more."""
        running, self._running = self._running, []
        self.pumps.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def stop(self) -> None:
        """Move nothing any more, and cancel nothing."""
        await self.end()
        self._cancels.close()
        await self._background.cancel()

    def kick(self) -> None:
        """The link was made anew."""
        for pump in self.pumps.values():
            pump.kick()

    def look_at(self, lag: Mapping[str, int]) -> None:
        """The site says how many messages of its streams are not here yet."""
        now = time.monotonic()
        for stream, behind in lag.items():
            pump = self.pumps.get(stream)
            if pump is not None and behind and now - pump.tally.heard > STUCK and not pump.problem:
                pump.tally.heard = now
                pump.kick()

    # the inside

    def _route(self, stream: str) -> Route:
        subjects = self._bus.subjects
        source = routes.source(subjects, stream, self._site)
        failed = partial(routes.failed, subjects)
        if stream == subjects.results_stream:
            return Route(source, self._result, failed, self._fetch_output)
        if stream == subjects.sites_stream:
            convert = partial(routes.task, subjects, self._site)
            return Route(source, lambda one, _: convert(one), failed, self._fetch)
        record = partial(routes.record, subjects, stream, self._site)
        return Route(source, record, before=self._fetch)

    def _result(self, message: Inbound, _: int) -> Outgoing:
        out = routes.result(self._bus.subjects, message)
        if h.find(message.block, h.STATE) == "canceled":
            # Perhaps of a task that the site has handed up, and that waits or runs here.
            task_id = routes.task_id(message.subject)
            error = results.decode(task_id, message.headers, b"").error
            why = error or ErrorInfo("canceled at its site")
            self._cancels.take(partial(cancels.stop, self._bus, task_id, why))
        return out

    async def _fetch(self, message: Inbound) -> None:
        asked = self._bus.subjects.site_asked(self._site)
        task_id = routes.task_id(message.subject)
        await cargo.fetch(self._bus, self._far, asked, message, task_id)

    async def _fetch_output(self, message: Inbound) -> None:
        # Of a task that ran here, or came before, it would be refused.
        stream = self._bus.subjects.results_stream
        if await store.last(self._bus, stream, message.subject) is None:
            await self._fetch(message)
