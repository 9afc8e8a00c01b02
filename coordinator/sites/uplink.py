"""A site's side of its link: reports, takes what the hub hands over, copies configuration.

While the link is down everything of the site goes on without it: nothing here is on the path of
a task of the site.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Final

import msgspec

from bus import codec, sites, store
from bus.background import Background
from bus.client import registry
from bus.connection import ApiError, Bus
from bus.errors import BusError, ConfigError, DecodeError
from bus.sites import HUB
from bus.subjects import SPILL
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.heartbeat import Heartbeat
from bus.wire.result import Result
from bus.wire.site import SiteNews, SitePolicy, SiteReport, SiteWants
from bus.wire.task import ErrorInfo
from coordinator.dispatcher import Dispatcher
from coordinator.peers import Peers
from coordinator.puller import Puller
from coordinator.sites import cargo, copying, routes
from coordinator.sites.debts import Debts
from coordinator.sites.far import Far, LinkDown
from coordinator.sites.handover import Handover
from coordinator.sites.hub import owner
from coordinator.sites.place import Upward, sort
from coordinator.sites.pump import Pump, Source
from coordinator.sites.report import Saying
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView

log = logging.getLogger("fleetbus.sites")

LEAST: Final = 1.0
"""Seconds between reports, however much is new."""

ANSWER: Final = 3.0
"""Seconds in which the hub answers a report, or the link counts as broken."""

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
        self.debts = Debts(bus, site, self._fetch)
        self.pump: Pump | None = None
        self._bus = bus
        self._me = me
        self._view = view
        self._peers = peers
        self._puller = puller
        self._dispatcher = dispatcher
        self._interval = interval
        self._inbox = sites.down_inbox(bus.subjects, site)
        self._far = Far(bus, sites.side(HUB).api, self._inbox)
        self._answers = f"{self._inbox}.r{os.urandom(6).hex()}"
        self._saying = Saying(site)
        self._background = Background(log, f"the link of site {site}")
        self._seq = 0
        self._active = False
        self._moving: asyncio.Task[None] | None = None
        self._copying = False
        self._wanted = 0
        self._cursor = 1

    async def start(self) -> None:
        """Listen to the site's agents and to the hub, and begin to report."""
        bus, subjects = self._bus, self._bus.subjects
        await self._far.start()
        await bus.listen(self._answers, self._on_result)
        await bus.listen(subjects.adverts, self._on_advert)
        await bus.listen(subjects.heartbeats, self._on_heartbeat)
        await bus.listen(subjects.site_nudge(self.site), self._on_nudge)
        await bus.listen(subjects.site_asked(self.site), self._on_asked)
        await bus.listen(subjects.all_cancels, self._on_cancel)
        await bus.flush()
        await self._read_cards()
        await self._read_policy()
        await self.debts.read()
        self._view.beyond = lambda pool: sort(pool, (self.place,))
        self._dispatcher.beyond = self.handover.take
        self.handover.on_handed = lambda _, task_id: self.debts.add(task_id)
        bus.reconnected.append(self._on_reconnect)
        self._background.spawn(self._run())

    async def stop(self) -> None:
        """Say that this coordinator reports no more."""
        if self._on_reconnect in self._bus.reconnected:
            self._bus.reconnected.remove(self._on_reconnect)
        await self._background.cancel()
        if self._active and self._bus.connected:
            with contextlib.suppress(BusError):  # the hub notices by itself, later
                self._seq += 1
                last = SiteReport(self.site, self._me, self._seq)
                self._bus.send(self._bus.subjects.site_report(self.site), codec.encode(last))
        await self._pause()
        await self._far.stop()

    # what is heard

    def _on_advert(self, message: Inbound) -> None:
        self._take_card(message.subject.rsplit(".", 1)[1], message)

    def _take_card(self, agent: str, message: Inbound) -> None:
        card = registry.read(self._bus, message)
        if card is not None and card.agent != agent:
            raise DecodeError(f"card of {agent}", f"names agent {card.agent!r}")
        if not self._saying.card(agent, card) and card is not None:
            log.warning(
                "agent %s says that it is at site %r: the hub does not see it, and no task that "
                "names site %r comes to it; start it with site=%r",
                agent,
                card.site,
                self.site,
                self.site,
            )

    def _on_heartbeat(self, message: Inbound) -> None:
        self._saying.beat(codec.decode(Heartbeat, message.data, "heartbeat"))

    def _on_reconnect(self) -> None:
        self._saying.all = True
        self.debts.again()
        if self.pump is not None:
            self.pump.kick()
        self._background.spawn(self._read_cards())

    def _on_nudge(self, message: Inbound) -> None:
        self._hear(codec.decode(SiteNews, message.data, "news of the hub"))

    def _hear(self, news: SiteNews) -> None:
        if news.full:
            self._saying.all = True
        if news.linked:
            self.debts.again()
            if self.pump is not None:
                self.pump.kick()
        if news.policy is not None and news.policy != self.place.policy:
            self.place.policy = news.policy
            self._sort()
            self._background.spawn(self._keep_policy(news.policy))
        if news.config:
            self._wanted = max(self._wanted, news.config)
            if news.config < self.copied:
                self._wanted = news.config  # the hub's bucket was made anew
            self._copy_soon()

    def _on_result(self, message: Inbound) -> None:
        if message.status == "503":
            return
        self._background.spawn(self.debts.take(message))

    def _on_cancel(self, message: Inbound) -> None:
        """A client at the hub has canceled a task that may be in our queue."""
        if self._active:
            task_id = ".".join(message.subject.rsplit(".", 2)[1:])
            self._background.spawn(self._cancel(task_id, message.data))

    def _on_asked(self, message: Inbound) -> None:
        """The hub needs a payload of a task or a result that comes up."""
        if self._active and message.reply:
            name = codec.decode(SiteWants, message.data, "what the hub wants").payload
            self._background.spawn(cargo.send(self._bus, name, message.reply, bool(name)))

    # the inside

    async def _fetch(self, message: Inbound) -> None:
        wanted = self._bus.subjects.site_wants(self.site)
        await cargo.fetch(self._bus, self._far, wanted, message)

    async def _run(self) -> None:
        last = 0.0
        while True:
            await asyncio.sleep(LEAST)
            if not self._bus.connected:
                continue
            active = owner(self.site, self._peers.all) == self._me
            if active != self._active:
                self._active = active
                if active:
                    self._saying.all = True
                    self._begin()
                else:
                    await self._pause()
            if not active:
                continue
            now = time.monotonic()
            due = self._saying.new or not self.connected or now - last >= self._interval()
            try:
                if due:
                    last = now
                    await self._report()
                if self.connected:
                    self.debts.ask(self._answers)
                    await self._look_for_unoffered()
                    self._copy_soon()
            except (BusError, TimeoutError) as problem:
                log.debug("link of site %s: %s", self.site, problem)

    def _begin(self) -> None:
        subjects = self._bus.subjects
        source = Source(subjects.sites_stream, sites.down_consumer(self.site), None, False)
        self.pump = Pump(
            self._bus,
            self._far,
            self._inbox,
            source,
            lambda message, _: routes.task(subjects, HUB, message),
            self._fetch,
        )
        self._moving = asyncio.create_task(self.pump.run(), name="pump-down")

    async def _pause(self) -> None:
        moving, self._moving = self._moving, None
        if moving is not None:
            moving.cancel()
            await asyncio.gather(moving, return_exceptions=True)
        self.pump = None

    async def _report(self) -> None:
        waiting, lag = await self._measure()
        subject = self._bus.subjects.site_report(self.site)
        news: SiteNews | None = None
        try:
            for part in list(self._saying.take()):
                self._seq += 1
                report = msgspec.structs.replace(
                    part,
                    coordinator=self._me,
                    seq=self._seq,
                    next_in=max(LEAST, self._interval()) + LEAST,
                    waiting=waiting,
                    lag=lag,
                    config=self.copied,
                    sent_ms=time.time_ns() // 1_000_000,
                )
                answer = await self._far.request(subject, codec.encode(report), ANSWER)
                news = codec.decode(SiteNews, answer.data, "answer to a report")
        except (BusError, TimeoutError) as problem:
            self._saying.all = True
            self._set_connected(False, str(problem))
            return
        self._set_connected(True, "")
        if news is not None:
            self._hear(news)

    def _set_connected(self, connected: bool, why: str) -> None:
        if self.connected == connected:
            return
        self.connected = self.place.connected = connected
        log.info("site %s: the hub %s%s", self.site, "answers" if connected else "is away: ", why)
        self._sort()
        if connected:
            self.debts.again()
            if self.pump is not None:
                self.pump.kick()

    async def _measure(self) -> tuple[int, dict[str, int]]:
        bus, subjects = self._bus, self._bus.subjects
        info = await bus.api(f"STREAM.INFO.{subjects.tasks_stream}")
        lag: dict[str, int] = {}
        for stream in sites.up_streams(subjects):
            try:
                one = await bus.api(f"CONSUMER.INFO.{stream}.{sites.up_consumer(self.site)}")
            except ApiError as error:
                if error.code not in (ApiError.NO_CONSUMER, ApiError.NO_STREAM):
                    raise
                continue  # the hub has not been here yet
            behind = int(one["num_pending"]) + int(one["num_ack_pending"])
            if behind:
                lag[stream] = behind
        return int(info["state"]["messages"]), lag

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

    async def _read_cards(self) -> None:
        there: set[str] = set()
        async for message in registry.entries(self._bus):
            agent = h.find(message.block, "Nats-Subject").rsplit(".", 1)[1]
            there.add(agent)
            self._take_card(agent, message)
        for agent in self._saying.cards.keys() - there:
            self._saying.card(agent, None)

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

    async def _cancel(self, task_id: str, data: bytes) -> None:
        bus, subjects = self._bus, self._bus.subjects
        error = codec.decode(ErrorInfo, data, "cancellation")
        canceled = Result(task=task_id, state="canceled", error=error)
        block = results.encode(canceled, once=True)
        found = await store.last(bus, subjects.results_stream, subjects.result(task_id))
        if found is not None:
            return  # it has ended, or it was canceled here
        waits = False
        async for _ in store.scan(
            bus, subjects.tasks_stream, subjects.task_anywhere(task_id), batch=1
        ):
            waits = True
            break
        if not waits:
            return  # it is not ours
        with contextlib.suppress(ApiError):  # another result was first
            await store.publish(bus, subjects.result(task_id), b"", block)
        await bus.api(
            f"STREAM.PURGE.{subjects.tasks_stream}", {"filter": subjects.task_anywhere(task_id)}
        )

    async def _read_policy(self) -> None:
        subjects = self._bus.subjects
        key = f"{subjects.config_keys}{SPILL}{self.site}"
        message = await store.last(self._bus, subjects.config_stream, key)
        if message is not None and message.data:
            with contextlib.suppress(DecodeError):  # the hub tells it again
                self.place.policy = codec.decode(SitePolicy, message.data)

    async def _keep_policy(self, policy: SitePolicy) -> None:
        key = f"{self._bus.subjects.config_keys}{SPILL}{self.site}"
        await store.publish(self._bus, key, codec.encode(policy))
