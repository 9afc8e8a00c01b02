"""One site, as a coordinator of the hub looks after it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from bus import codec, sites, store
from bus.background import Background
from bus.client import records
from bus.client.brief import Brief
from bus.connection import Bus
from bus.errors import BusError
from bus.subjects import SITE
from bus.transport import Inbound
from bus.wire.site import SiteNews, SitePolicy, SiteRecord, SiteReport
from coordinator.sites import cargo, routes
from coordinator.sites.far import Far, LinkDown
from coordinator.sites.known import Changes, Known
from coordinator.sites.overdue import expire
from coordinator.sites.place import Place
from coordinator.sites.pump import Outgoing, Pump
from coordinator.sites.relay import Relay
from coordinator.sites.wants import Wants

log = logging.getLogger("fleetbus.sites")

PATIENCE: Final = 3.0
"""Of the time that a site has promised to report in, what must pass before it is asked."""

LEAST: Final = 3.0
"""Seconds of silence before that, at the least."""

STUCK: Final = 3.0
"""Seconds that a lag may stay while nothing comes, before the stream is pulled anew."""

ASK: Final = 2.0
"""Seconds that a site's server has to say that it is there."""

OVERDUE: Final = 2.0
"""Seconds between looks for tasks whose deadline passes while the site is away."""

AGAIN: Final = 1.0
"""Seconds between two requests for a full report."""


class Link:
    """What is known of one site, and what is moved from it."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        site: str,
        relay: Relay,
        on_change: Callable[[], None],
    ) -> None:
        """``on_change``: told when other tasks may go there than before."""
        self.site = site
        self.place = Place(site)
        self.known = Known(site)
        self.record: SiteRecord | None = None
        self.owned = False
        """It is for this coordinator to move, to relay and to record."""
        self.pumps: dict[str, Pump] = {}
        self.relay = relay
        self.wants = Wants(bus, site)
        self._bus = bus
        self._me = me
        self._on_change = on_change
        self._inbox = sites.up_inbox(bus.subjects, site)
        self._far = Far(bus, sites.side(site).api, self._inbox)
        self._background = Background(log, f"site {site}")
        self._moving: list[asyncio.Task[None]] = []
        self._listening = False
        self._heard = 0.0
        self._born = time.monotonic()
        self._expire_at = 0.0
        self._why = "it has not reported yet"
        self._recording = False
        self._relinked = False
        """The link was made anew since the site was answered last."""
        self._said_at = 0.0
        self._asked_at = 0.0
        self._probing = False
        self._dirty: dict[str, None] = {}
        """Agents whose registry entries are to be looked at."""
        self._writing = False

    # what is heard

    def on_report(self, report: SiteReport, reply: str, config: int) -> None:
        """The site says how it is."""
        self._heard = time.monotonic()
        changes = self.known.take(report)
        if not self.place.connected:
            self._set(True, "")
        self._apply(changes)
        if changes.gap:
            self.nudge(full=True)
        self._look_at_lag(report)
        if report.next_in <= 0:
            self._set(False, "its coordinator has stopped")
        elif self.owned and reply:
            news = SiteNews(
                self._me, linked=self._relinked, config=config, policy=self.place.policy
            )
            self._relinked = False
            self._bus.send(reply, codec.encode(news))
        if self.owned and changes.beats:
            self.relay.beat(changes.beats, self._promise)

    def on_event(self, made: bool) -> None:
        """The server has said that a link was made, or ended."""
        if made:
            self._relinked = True
            for pump in self.pumps.values():
                pump.kick()
            # It may be too early for the site to hear of it; the answer to its next report is not.
            self.nudge(linked=True)
        self._background.spawn(self._probe("the link ended"))

    def on_policy(self, policy: SitePolicy) -> None:
        """An operator has changed what it may be given."""
        self.place.policy = policy
        if self.owned and self.place.connected:
            self.nudge(policy=policy)
        self._on_change()

    def nudge(self, **news: Any) -> None:
        """Tell the site that something is new; to ask for a full report, not too often."""
        if news.get("full"):
            now = time.monotonic()
            if now - self._asked_at < AGAIN:
                return
            self._asked_at = now
        elif not self.owned:
            return
        message = codec.encode(SiteNews(self._me, **news))
        if self._bus.connected:
            self._bus.send(self._bus.subjects.site_nudge(self.site), message)

    # time passes

    def own(self, owned: bool) -> None:
        """Begin or end to look after it."""
        if owned != self.owned:
            self.owned = owned
            self._background.spawn(self._take_over() if owned else self._let_go(), self._disown)

    def tick(self, interval: float) -> None:
        """Notice silence; say again what its agents said; write down what has changed."""
        now = time.monotonic()
        report = self.known.last
        told = self.record is not None and self.record.connected == self.place.connected
        if self.owned and not told and now - self._born > LEAST and not self._recording:
            self._recording = True
            self._background.spawn(self._record(self.place.connected, self._why))
        if self.place.connected and report is not None:
            if now - self._heard > max(LEAST, report.next_in * PATIENCE) and not self._probing:
                self._background.spawn(self._probe("it does not report"))
            if self.owned and now - self._said_at > interval:
                self._said_at = now
                self.relay.beat(self.known.beats.values(), self._promise)
        if self.owned and not self.place.connected and now >= self._expire_at:
            self._expire_at = now + OVERDUE
            self._background.spawn(self._expire())
        if self.owned and self._dirty and not self._writing:
            self._writing = True
            self._background.spawn(self._write())

    async def stop(self) -> None:
        """Move nothing any more."""
        await self._let_go()
        await self.wants.stop()
        await self._background.cancel()
        if self._listening:
            await self._far.stop()

    # the inside

    def _disown(self) -> None:
        """Taking over failed: it is tried again at the next tick."""
        self.owned = False

    @property
    def _promise(self) -> float:
        report = self.known.last
        return max(2.0, 3 * (report.next_in if report is not None else 1.0))

    def _apply(self, changes: Changes) -> None:
        place = self.place
        for card in changes.cards:
            place.briefs[card.agent] = Brief.of(card)
        for agent in changes.gone:
            place.briefs.pop(agent, None)
        place.beats = self.known.beats
        place.settle()
        if changes.cards or changes.gone:
            self._dirty.update(dict.fromkeys(one.agent for one in changes.cards))
            self._dirty.update(dict.fromkeys(changes.gone))
            self._on_change()

    def _set(self, connected: bool, why: str) -> None:
        if self.place.connected == connected and self.record is not None:
            return
        self.place.connected = connected
        log.info("site %s is %s", self.site, "connected" if connected else f"away: {why}")
        self._on_change()
        if connected:
            for pump in self.pumps.values():
                pump.kick()
        self._why = why
        if self.owned and not self._recording:
            self._recording = True
            self._background.spawn(self._record(connected, why))

    async def _record(self, connected: bool, why: str) -> None:
        """Keep since when it is so, and say it."""
        try:
            before = self.record
            if before is not None and before.connected == connected:
                return
            at = time.time_ns() // 1_000_000
            record = SiteRecord(self.site, connected, at, why, self._me)
            key = f"{self._bus.subjects.config_keys}{SITE}{self.site}"
            await store.publish(self._bus, key, codec.encode(record))
            self.record = record
            kind = "site.connected" if connected else "site.disconnected"
            data = {"why": why} if why else {}
            await records.event(self._bus, kind, self.site, by=self._me, data=data)
        finally:
            self._recording = False

    async def _probe(self, why: str) -> None:
        self._probing = True
        try:
            await self._listen()
            asked = time.monotonic()
            try:
                await self._far.request(f"{self._far.api}.INFO", timeout=ASK)
            except LinkDown:
                self._set(False, "the link ended")
            except TimeoutError:
                if self._heard < asked:
                    self._set(False, "its server does not answer")
            else:
                if why == "it does not report" and self._heard < asked:
                    self._set(False, "its server is there, but no coordinator reports")
        finally:
            self._probing = False

    async def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            await self._far.start()

    async def _take_over(self) -> None:
        await self._listen()
        subjects, bus = self._bus.subjects, self._bus
        await bus.api(
            f"CONSUMER.CREATE.{subjects.sites_stream}.{sites.down_consumer(self.site)}"
            f".{subjects.site_tasks(self.site)}",
            {
                "stream_name": subjects.sites_stream,
                "config": sites.hub_consumer(subjects, self.site),
            },
        )
        if not self.owned or self._moving:
            return
        for stream in sites.up_streams(subjects):
            source = routes.source(subjects, stream, self.site)
            pump = Pump(bus, self._far, self._inbox, source, self._converter(stream), self._fetch)
            self.pumps[stream] = pump
            self._moving.append(asyncio.create_task(pump.run(), name=f"pump-{stream}"))
        self._dirty.update(dict.fromkeys(self.known.cards))
        self.nudge(linked=True)

    async def _let_go(self) -> None:
        moving, self._moving = self._moving, []
        self.pumps.clear()
        for task in moving:
            task.cancel()
        await asyncio.gather(*moving, return_exceptions=True)

    async def _fetch(self, message: Inbound) -> None:
        subjects = self._bus.subjects
        asked = subjects.site_asked(self.site)
        stream, prefix = subjects.results_stream, subjects.results.removesuffix("*.*")
        known = message.subject.startswith(prefix) and (
            await store.last(self._bus, stream, message.subject) is not None
        )
        # Of a task that ran here, or came before, it would be refused.
        if not known:
            await cargo.fetch(self._bus, self._far, asked, message)

    def _converter(self, stream: str) -> Callable[[Inbound, int], Outgoing | None]:
        subjects = self._bus.subjects
        if stream == subjects.results_stream:
            return lambda message, _: routes.result(message)
        if stream == subjects.sites_stream:
            return lambda message, _: routes.task(subjects, self.site, message)
        return partial(routes.record, stream, self.site)

    def _look_at_lag(self, report: SiteReport) -> None:
        now = time.monotonic()
        for stream, lag in report.lag.items():
            pump = self.pumps.get(stream)
            if pump is not None and lag and now - pump.heard > STUCK and not pump.problem:
                pump.heard = now
                pump.kick()

    async def _expire(self) -> None:
        soonest = await expire(self._bus, self.site)
        if 0 < soonest < OVERDUE:
            self._expire_at = time.monotonic() + soonest

    async def _write(self) -> None:
        """Bring the registry up to what was reported."""
        try:
            dirty, self._dirty = self._dirty, {}
            there = [self.known.cards[one] for one in dirty if one in self.known.cards]
            try:
                await self.relay.put(there)
                await self.relay.remove(one for one in dirty if one not in self.known.cards)
            except (BusError, TimeoutError):
                self._dirty = {**dirty, **self._dirty}
                raise
        finally:
            self._writing = False
