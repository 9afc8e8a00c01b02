"""A site's side of its link: reports, takes what the hub hands over, copies configuration.

While the link is down everything of the site goes on without it: nothing here is on the path of
a task of the site.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Final

from bus import codec, sites, store
from bus.background import Background
from bus.connection import Bus
from bus.errors import BusError, ConfigError, DecodeError, FleetError
from bus.sites import HUB
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.site import SiteNews, SiteWants
from bus.wire.task import ErrorInfo
from coordinator.dispatcher import Dispatcher
from coordinator.peers import Peers
from coordinator.puller import Puller
from coordinator.sites import cancels, cargo, copying, routes
from coordinator.sites.debts import Debts
from coordinator.sites.far import Far, LinkDown
from coordinator.sites.handover import Handover
from coordinator.sites.hub import owner
from coordinator.sites.noted import Noted
from coordinator.sites.place import Upward, sort
from coordinator.sites.pump import Pump
from coordinator.sites.recall import Recall
from coordinator.sites.reporter import LEAST, Reporter
from coordinator.sites.session import Route, Source
from coordinator.turns import Turns
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView

log = logging.getLogger("fleetbus.sites")

LOOK: Final = 64
"""Tasks looked at in one go for what nobody here offers."""


class Uplink:
    """One site coordinator's share of the link: one of them at a time does all of it."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        site: str,
        view: FleetView,
        peers: Peers,
        puller: Puller,
        dispatcher: Dispatcher,
        verdicts: Verdicts,
        interval: Callable[[], float],
    ) -> None:
        self.site = sites.site_name(site)
        self.connected = False
        """The hub answers."""
        self.copied = 0
        """Revision at the hub of the configuration that is here."""
        self.place = Upward(site)
        self.handover = Handover(bus, site, verdicts)
        self.pump: Pump | None = None
        """Moves what the hub hands over, while that is for this coordinator to do."""
        self._bus = bus
        self._me = me
        self._view = view
        self._peers = peers
        self._puller = puller
        self._dispatcher = dispatcher
        self._background = Background(log, f"the link of site {site}")
        inbox = self._inbox = sites.down_inbox(bus.subjects, site)
        self._far = Far(bus, sites.side(HUB).api, inbox)
        self._answers = f"{inbox}.r{os.urandom(6).hex()}"
        self.debts = Debts(bus, site, self._fetch_output)
        self._reporter = Reporter(bus, self._far, me, site, interval)
        self._cancels = Turns(self._background, cancels.AT_ONCE)
        self._noted = Noted(bus, me, site)
        self._recall = Recall(bus, site, inbox, self._cancels)
        self._moving: asyncio.Task[None] | None = None
        self._copying = False
        self._wanted = 0
        self._cursor = 1

    async def start(self) -> None:
        """Listen to the site's agents and to the hub, and begin to report."""
        bus, subjects = self._bus, self._bus.subjects
        await self._far.start()
        await self._recall.start()
        await bus.listen(self._answers, self._on_result)
        await bus.listen(subjects.site_nudge(self.site), self._on_nudge)
        await bus.listen(subjects.site_asked(self.site), self._on_asked)
        await bus.listen(subjects.all_cancels, self._on_cancel)
        await self._reporter.start()
        self.place.policy = await self._noted.policy() or self.place.policy
        await self.debts.read()
        self._view.beyond = lambda pool: sort(pool, (self.place,))
        self._dispatcher.beyond = self.handover.take
        self.handover.on_handed = lambda _, task_id: self.debts.add(task_id)
        bus.reconnected.append(self._on_reconnect)
        self._background.spawn(self._run())

    async def stop(self) -> None:
        """Report no more, and say so if nobody else will."""
        if self._on_reconnect in self._bus.reconnected:
            self._bus.reconnected.remove(self._on_reconnect)
        self._cancels.close()
        await self._background.cancel()
        if self._active and self._peers.count == 1 and self._bus.connected:
            with contextlib.suppress(BusError, TimeoutError):
                self._reporter.part()  # else the hub notices by itself, later
                await self._noted.link(False, "the site's coordinator has stopped")
        await self._pause()
        await self._far.stop()

    @property
    def _active(self) -> bool:
        return self._moving is not None

    # what is heard

    def _on_reconnect(self) -> None:
        self._reporter.saying.all = True
        self._anew()
        self._background.spawn(self._reporter.read_cards())

    def _on_nudge(self, message: Inbound) -> None:
        self._hear(codec.decode(SiteNews, message.data, "news of the hub"))

    def _hear(self, news: SiteNews) -> None:
        if news.full:
            self._reporter.saying.all = True
        if news.linked:
            self._anew()
        if news.policy is not None and news.policy != self.place.policy:
            self.place.policy = news.policy
            self._sort()
            self._background.spawn(self._noted.keep(news.policy))
        if news.config:
            self._wanted = max(self._wanted, news.config)
            if news.config < self.copied:
                self._wanted = news.config  # the hub's bucket was made anew
            self._copy_soon()

    def _anew(self) -> None:
        """What was under way may have been lost."""
        self.debts.again()
        if self.pump is not None:
            self.pump.kick()
            self._background.spawn(self._recall.ask())

    def _on_result(self, message: Inbound) -> None:
        if not message.status:
            self._background.spawn(self.debts.take(message))

    def _on_cancel(self, message: Inbound) -> None:
        """A client here or at the hub has canceled a task that may be in our queues. Agents have
        heard it, too."""
        if self._active:
            task_id = routes.task_id(message.subject)
            error = codec.decode(ErrorInfo, message.data, "cancellation")
            self._cancels.take(partial(cancels.clear, self._bus, task_id, error))

    def _on_asked(self, message: Inbound) -> None:
        """The hub needs a payload of a task or a result that comes up."""
        if self._active and message.reply:
            name = codec.decode(SiteWants, message.data, "what the hub wants").payload
            self._background.spawn(cargo.send(self._bus, name, message.reply, bool(name)))

    # the inside

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LEAST)
            if not self._bus.connected:
                continue
            if (owner(self.site, self._peers.all) == self._me) != self._active:
                if self._active:
                    await self._pause()
                else:
                    self._begin()
            if not self._active:
                continue
            try:
                if self._reporter.due or not self.connected:
                    await self._report()
                if self.connected:
                    self.debts.ask(self._answers)
                    await self._look_for_unoffered()
                    self._copy_soon()
            except (FleetError, TimeoutError) as problem:
                log.debug("link of site %s: %s", self.site, problem)

    def _begin(self) -> None:
        subjects = self._bus.subjects
        self._reporter.saying.all = True
        self._noted.doubt()
        route = Route(
            Source(subjects.sites_stream, sites.down_consumer(self.site), None, False),
            lambda message, _: routes.task(subjects, HUB, message),
            partial(routes.failed, subjects),
            self._fetch_input,
        )
        self.pump = Pump(self._bus, self._far, self._inbox, route)
        self._moving = asyncio.create_task(self.pump.run(), name="pump-down")

    async def _pause(self) -> None:
        moving, self._moving = self._moving, None
        self.pump = None
        if moving is not None:
            moving.cancel()
            await asyncio.gather(moving, return_exceptions=True)

    async def _fetch_input(self, message: Inbound) -> None:
        await self._fetch(message, routes.task_id(message.subject))

    async def _fetch_output(self, message: Inbound) -> None:
        await self._fetch(message, h.find(message.block, h.TASK))

    async def _fetch(self, message: Inbound, task_id: str) -> None:
        wanted = self._bus.subjects.site_wants(self.site)
        await cargo.fetch(self._bus, self._far, wanted, message, task_id)

    async def _report(self) -> None:
        state = await self._reporter.measure()  # if that fails, it is not for the hub's sake
        try:
            news = await self._reporter.send(state, self.copied)
        except (FleetError, TimeoutError) as problem:
            self._set_connected(False, str(problem))
            await self._noted.link(False, str(problem))
            return
        self._set_connected(True, "")
        if news is not None:
            self._hear(news)
        await self._noted.link(True, "")

    def _set_connected(self, connected: bool, why: str) -> None:
        if self.connected == connected:
            return
        self.connected = self.place.connected = connected
        log.info("site %s: the hub %s%s", self.site, "answers" if connected else "is away: ", why)
        self._sort()
        if connected:
            self._anew()

    # work for the hub

    def _sort(self) -> None:
        for pool in self._view.pools():
            sort(pool, (self.place,))
        self._puller.soon()

    async def _look_for_unoffered(self) -> None:
        """Open lanes for what waits here and nobody here offers; some tasks at a time."""
        subjects = self._bus.subjects
        last, seen = self._cursor, 0
        async for message in store.scan(
            self._bus, subjects.tasks_stream, subjects.tasks, LOOK, self._cursor
        ):
            last, seen = store.sequence(message) + 1, seen + 1
            with contextlib.suppress(DecodeError):  # who pulls it buries it
                capability = subjects.parse_task(message.headers["Nats-Subject"])[0]
                self._view.pool(capability)
                self._puller.open([capability])
            if seen >= LOOK:
                break
        self._cursor = last if seen >= LOOK else 1

    # what comes down

    def _copy_soon(self) -> None:
        if self._wanted != self.copied and self._active and not self._copying:
            self._copying = True
            self._background.spawn(self._copy())

    async def _copy(self) -> None:
        try:
            wanted = self._wanted
            changed = await copying.copy(self._bus, self._far)
            self.copied = wanted
            if changed:
                log.info("site %s: %d layers of the hub's configuration", self.site, changed)
        except (BusError, ConfigError, TimeoutError) as problem:
            level = logging.DEBUG if isinstance(problem, LinkDown) else logging.WARNING
            log.log(level, "configuration was not copied, trying again: %s", problem)
        finally:
            self._copying = False
