"""Tells the hub of a site's agents: one report for all of them, of what is new."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from bus import codec
from bus.client import registry
from bus.connection import Bus
from bus.errors import DecodeError
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.heartbeat import Heartbeat
from bus.wire.site import SiteNews, SiteReport
from coordinator.sites.behind import behind
from coordinator.sites.far import Far
from coordinator.sites.report import Saying

log = logging.getLogger("fleetbus.sites")

LEAST: Final = 1.0
"""Seconds between reports, however much is new."""

ANSWER: Final = 3.0
"""Seconds in which the hub answers a report, or the link counts as broken."""


class State(NamedTuple):
    """What a report says beside agents."""

    waiting: int
    """Tasks in the queue."""
    lag: dict[str, int]
    """By stream: messages that the hub does not have yet, where there are some."""


class Reporter:
    """Listens to the site's agents, and says what it has heard."""

    def __init__(self, bus: Bus, far: Far, me: str, site: str, interval: Callable[[], float]):
        """``interval``: seconds between reports while nothing is new."""
        self.saying = Saying(site)
        self._bus = bus
        self._far = far
        self._me = me
        self._site = site
        self._interval = interval
        self._subject = bus.subjects.site_report(site)
        self._seq = 0
        self._at = 0.0

    async def start(self) -> None:
        """Listen, then read who is there."""
        bus, subjects = self._bus, self._bus.subjects
        await bus.listen(subjects.adverts, self._on_advert)
        await bus.listen(subjects.heartbeats, self._on_heartbeat)
        await bus.flush()
        await self.read_cards()

    @property
    def due(self) -> bool:
        """There is something new, or the hub expects a sign of life."""
        return self.saying.new or time.monotonic() - self._at >= self._interval()

    async def send(self, state: State, config: int) -> SiteNews | None:
        """Say what is new; what the hub answers. ``config``: revision of its configuration that
        is here. What may not have been heard is said anew, and all the rest.

        Raises:
            LinkDown, TimeoutError, Disconnected: the hub does not answer.
            DecodeError: its answer cannot be read.
        """
        self._at = time.monotonic()
        news: SiteNews | None = None
        try:
            for part in list(self.saying.take()):
                self._seq += 1
                report = msgspec.structs.replace(
                    part,
                    coordinator=self._me,
                    seq=self._seq,
                    next_in=max(LEAST, self._interval()) + LEAST,
                    waiting=state.waiting,
                    lag=state.lag,
                    config=config,
                    sent_ms=time.time_ns() // 1_000_000,
                )
                answer = await self._far.request(self._subject, codec.encode(report), ANSWER)
                news = codec.decode(SiteNews, answer.data, "answer to a report")
        except DecodeError:
            raise  # it has heard us
        except BaseException:
            self.saying.all = True
            raise
        return news

    async def measure(self) -> State:
        """Ask this side's server how it stands.

        Raises:
            BusError, TimeoutError: as for ``Bus.api``.
        """
        bus, subjects = self._bus, self._bus.subjects
        info = await bus.api(f"STREAM.INFO.{subjects.tasks_stream}")
        lag = await behind(bus, self._site)
        return State(int(info["state"]["messages"]), lag)

    def part(self) -> None:
        """Say that there will be no more reports.

        Raises:
            BusError: it could not be sent; the hub notices by itself, later.
        """
        self._seq += 1
        self._bus.send(self._subject, codec.encode(SiteReport(self._site, self._me, self._seq)))

    async def read_cards(self) -> None:
        """Take in all registry entries, and forget agents that have none.

        Raises:
            BusError, TimeoutError: as for ``store.scan``.
        """
        there: set[str] = set()
        async for message in registry.entries(self._bus):
            agent = h.find(message.block, "Nats-Subject").rsplit(".", 1)[1]
            there.add(agent)
            try:
                self._take_card(agent, message)
            except DecodeError as problem:
                self._bus.drop(message.subject, problem)
        for agent in self.saying.cards.keys() - there:
            self.saying.card(agent, None)

    # the inside

    def _on_advert(self, message: Inbound) -> None:
        self._take_card(message.subject.rsplit(".", 1)[1], message)

    def _take_card(self, agent: str, message: Inbound) -> None:
        card = registry.read(self._bus, message)
        if card is not None and card.agent != agent:
            raise DecodeError(f"card of {agent}", f"names agent {card.agent!r}")
        if not self.saying.card(agent, card) and card is not None:
            log.warning(
                "agent %s says that it is at site %r: the hub does not see it, and no task that "
                "names site %r comes to it; start it with site=%r",
                agent,
                card.site,
                self._site,
                self._site,
            )

    def _on_heartbeat(self, message: Inbound) -> None:
        self.saying.beat(codec.decode(Heartbeat, message.data, "heartbeat"))
