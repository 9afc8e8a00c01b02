"""One site, as a coordinator of the hub looks after it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final

from bus import codec, sites, store
from bus.background import Background
from bus.client import records
from bus.client.brief import Brief
from bus.connection import Bus
from bus.subjects import SITE
from bus.wire.card import Card
from bus.wire.site import SiteNews, SitePolicy, SiteRecord, SiteReport
from coordinator.sites.far import Far, LinkDown
from coordinator.sites.hauling import Hauling
from coordinator.sites.known import Changes, Known
from coordinator.sites.overdue import expire
from coordinator.sites.place import Place
from coordinator.sites.relay import Relay
from coordinator.sites.wants import Wants

log = logging.getLogger("fleetbus.sites")

PATIENCE: Final = 3.0
"""Of the time that a site has promised to report in, what must pass before it is asked."""

LEAST: Final = 3.0
"""Seconds of silence before that, at the least."""

ASK: Final = 2.0
"""Seconds that a site's server has to say that it is there."""

OVERDUE: Final = 2.0
"""Seconds between looks for tasks whose deadline passes while the site is away, at the least."""

REST: Final = 20.0
"""Times as long as such a look has taken is the next one put off: it reads all that waits."""

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
        self.relay = relay
        self.wants = Wants(bus, site)
        inbox = sites.up_inbox(bus.subjects, site)
        self._far = Far(bus, sites.side(site).api, inbox)
        self.hauling = Hauling(bus, self._far, inbox, site)
        self._bus = bus
        self._me = me
        self._on_change = on_change
        self._background = Background(log, f"site {site}")
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
        self.place.beats = self.known.beats

    # what is heard

    def recollect(self, card: Card) -> None:
        """An agent that the registry has from before this coordinator was there."""
        if self.known.recollect(card):
            self.place.briefs[card.agent] = Brief.of(card)
        elif card.agent not in self.known.cards:
            self.relay.news[card.agent] = None

    def on_report(self, report: SiteReport, reply: str, config: int) -> None:
        """The site says how it is."""
        self._heard = time.monotonic()
        changes = self.known.take(report)
        if not self.place.connected:
            self._set(True, "")
        self._apply(changes)
        if changes.gap:
            self.nudge(full=True)
        self.hauling.look_at(report.lag)
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
            self.hauling.kick()
            # It may be too early for the site to hear of it; the answer to its next report is not.
            self.nudge(linked=True)
        self._background.spawn(self._probe("the link ended"))

    def on_policy(self, policy: SitePolicy) -> None:
        """An operator has changed what it may be given."""
        self.place.policy = policy
        if self.place.connected:
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
            work = self._take_over() if owned else self.hauling.end()
            self._background.spawn(work, self._disown)

    def tick(self, interval: float) -> None:
        """Notice silence; say again what its agents said; write down what has changed."""
        now = time.monotonic()
        report = self.known.last
        patience = max(LEAST, report.next_in * PATIENCE) if report is not None else math.inf
        if self.place.connected and now - self._heard > patience and not self._probing:
            self._background.spawn(self._probe("it does not report"))
        if not self.owned:
            return
        if self.place.connected and now - self._said_at > interval:
            self._said_at = now
            self.relay.sort(self.known.cards)
            self.relay.beat(self.known.beats.values(), self._promise)
        # One that was never there has nothing to be told of.
        told = self.record is not None and self.record.connected
        if told != self.place.connected and now - self._born > LEAST:
            self._note()
        if not self.place.connected and now >= self._expire_at:
            self._expire_at = math.inf
            self._background.spawn(self._expire())
        if self.relay.news and not self.relay.writing:
            self._background.spawn(self.relay.write(self.known.cards))

    async def stop(self) -> None:
        """Move nothing any more."""
        await self._background.cancel()
        await self.hauling.stop()
        await self.wants.stop()
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
        place.settle()
        if changes.cards or changes.gone:
            self.relay.news.update(dict.fromkeys(one.agent for one in changes.cards))
            self.relay.news.update(dict.fromkeys(changes.gone))
            self._on_change()

    def _set(self, connected: bool, why: str) -> None:
        if self.place.connected == connected:
            return
        self.place.connected = connected
        log.info("site %s is %s", self.site, "connected" if connected else f"away: {why}")
        self._on_change()
        if connected:
            self.hauling.kick()
        self._why = why
        if self.owned:
            self._note()

    def _note(self) -> None:
        if not self._recording:
            self._recording = True
            self._background.spawn(self._record(self.place.connected, self._why))

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
        if not self.owned:
            return
        self.hauling.begin()
        self.relay.news.update(dict.fromkeys(self.known.cards))
        self.nudge(linked=True)
        if self.known.last is None:
            # It may report seldom, and must not be taken for away until then.
            self.nudge(full=True)

    async def _expire(self) -> None:
        begun, soonest = time.monotonic(), 0.0
        try:
            soonest = await expire(self._bus, self.site)
        finally:
            now = time.monotonic()
            pause = max(OVERDUE, (now - begun) * REST)
            self._expire_at = now + (min(soonest, pause) if soonest > 0 else pause)
