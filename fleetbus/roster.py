"""Who is in the fleet and how busy they are: the registry and the heartbeats, put together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from bus import Bus, codec, policy, store
from bus.client import registry
from bus.errors import DecodeError
from bus.selectors import Selector
from bus.sites import HUB
from bus.subjects import SITE
from bus.transport import Inbound
from bus.wire import Card, Heartbeat
from bus.wire.site import SiteRecord

PATIENCE: Final = 1.3
"""Heartbeat intervals to wait for an agent's load: they are jittered by a fifth."""

COLOURS: Final = {
    "ready": "green",
    "quiet": "green",
    "draining": "yellow",
    "away": "yellow",
    "late": "red",
    "silent": "red",
}
"""How people are shown the states of ``Row.state``."""

STRANGERS: Final = 1000
"""Heartbeats kept of agents that are not registered: of most the card is on its way."""

LATE: Final = 2.0
"""Promised times after which an agent that is silent counts as late."""


@dataclass(frozen=True, slots=True)
class Row:
    """One agent. ``load`` is None if no heartbeat of this incarnation has been heard."""

    card: Card
    load: Heartbeat | None = None
    heard: float = 0.0
    """Monotonic time of that heartbeat; before the first, when we began to listen."""
    away_ms: int = 0
    """Since when the link to its site is down, in Unix milliseconds; 0 while it is up."""

    def state(self, now: float | None = None) -> str:
        """``ready``, ``draining``, ``stopped``, ``late``, ``silent`` if never heard, ``quiet`` if
        not heard yet of one that speaks seldom, or ``away`` if the link to its site is down."""
        if self.away_ms:
            return "away"
        silence = (time.monotonic() if now is None else now) - self.heard
        if self.load is None:
            return "quiet" if silence < self.card.idle * LATE else "silent"
        if self.load.next_in and silence > self.load.next_in * LATE:
            return "late"
        return self.load.state

    def summary(self) -> dict[str, Any]:
        """What a table shows, flat, for scripts. Load is null where it is not known."""
        card, load = self.card, self.load
        return {
            "agent": card.agent,
            "site": card.site,
            "state": self.state(),
            "away_since_ms": self.away_ms or None,
            "capabilities": [one.name for one in card.capabilities],
            "labels": card.labels,
            "slots": card.slots,
            "running": load.running if load else None,
            "queued": load.queued if load else None,
            "window": load.window if load else None,
            "done": load.done if load else None,
            "failed": load.failed if load else None,
            "service_ms": load.service_ms if load else None,
            "cpu": load.cpu if load else None,
            "rss": load.rss if load else None,
            "config": load.config if load else None,
            "commit": load.commit if load else None,
            "overrides": load.overrides if load else None,
            "rejected": load.rejected if load else None,
            "host": card.host,
            "pid": card.pid,
            "started_ms": card.started_ms,
            "runtime": card.runtime,
            "incarnation": card.incarnation,
        }


class Roster:
    """The fleet's agents, kept up to date while it is entered.

    Args:
        bus: an open connection.
        select: only agents that match.
        on_change: called after each change.

    Raises:
        InvalidSelector: the selector cannot be parsed.
    """

    def __init__(
        self, bus: Bus, select: str = "", on_change: Callable[[], None] | None = None
    ) -> None:
        self._bus = bus
        self._selector = Selector.parse(select)
        self._on_change = on_change
        self._cards: dict[str, Card | None] = {}
        """None for one that is gone."""
        self._revisions: dict[str, int] = {}
        self._beats: dict[tuple[str, str], tuple[Heartbeat, float]] = {}
        """By agent and incarnation."""
        self._since = 0.0
        self._links: dict[str, SiteRecord] = {}
        self._news = asyncio.Event()
        self._subscriptions: list[Any] = []

    async def __aenter__(self) -> Self:
        """Subscribe, then read the registry: nothing that changes in between is missed.

        Raises:
            TopologyMissing: this fleet does not exist here.
            TimeoutError, Disconnected: the server does not answer.
        """
        bus, subjects = self._bus, self._bus.subjects
        try:
            for subject, handler in (
                (subjects.heartbeats, self._on_heartbeat),
                (subjects.adverts, self._on_advert),
                (subjects.config(f"{SITE}*"), self._on_link),
            ):
                self._subscriptions.append(await bus.listen(subject, handler))
            await bus.flush()
            self._since = time.monotonic()
            pattern = f"{subjects.registry_keys}>"
            async for message in store.scan(bus, subjects.registry_stream, pattern):
                agent = message.headers["Nats-Subject"][len(subjects.registry_keys) :]
                self._take(agent, message)
            keys = f"{subjects.config_keys}{SITE}*"
            async for message in store.scan(bus, subjects.config_stream, keys):
                self._take_link(message)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave()

    async def heard(self, timeout: float | None = None) -> bool:
        """Wait until every agent has been heard that must speak in this time; False if some of
        these have not.

        Args:
            timeout: seconds; by default a little more than the fleet's heartbeat interval.
        """
        if timeout is None:
            timeout = PATIENCE * (await policy.read(self._bus)).interval
        try:
            async with asyncio.timeout(timeout):
                while any(_awaited(row, timeout) for row in self.rows()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def rows(self) -> list[Row]:
        """The agents that are registered now, by id."""
        return [self._row(card) for _, card in sorted(self._cards.items()) if card is not None]

    @property
    def hub(self) -> SiteRecord | None:
        """At a site: how its link to the hub is. None at the hub, and where there are no sites."""
        return self._links.get(HUB)

    @property
    def sites(self) -> list[SiteRecord]:
        """At the hub: how the links to its sites are, by name."""
        return [one for name, one in sorted(self._links.items()) if name != HUB]

    def row(self, agent: str) -> Row | None:
        """One agent; None if it is not registered or does not match."""
        card = self._cards.get(agent)
        return None if card is None else self._row(card)

    def _row(self, card: Card) -> Row:
        beat = self._beats.get((card.agent, card.incarnation))
        link = self._links.get(card.relay) if card.relay else None
        away = link.since_ms if link is not None and not link.connected else 0
        load, heard = beat if beat is not None else (None, self._since)
        return Row(card, load, heard, away)

    def _take(self, agent: str, message: Inbound) -> None:
        revision = int(message.headers.get("Nats-Sequence", "0"))
        if revision < self._revisions.get(agent, 0):
            return
        self._revisions[agent] = revision
        old = self._cards.get(agent)
        card = registry.read(self._bus, message)
        if old is not None and (card is None or card.incarnation != old.incarnation):
            self._beats.pop((agent, old.incarnation), None)
        if card is not None and not registry.matches(self._selector, card):
            card = None
        self._cards[agent] = card

    def _on_link(self, message: Inbound) -> None:
        self._take_link(message)
        self._changed()

    def _take_link(self, message: Inbound) -> None:
        name = message.headers.get("Nats-Subject", message.subject).rsplit(".", 1)[1]
        if message.data:
            self._links[name] = codec.decode(SiteRecord, message.data, f"record of site {name}")
        else:
            self._links.pop(name, None)

    def _on_advert(self, message: Inbound) -> None:
        try:
            self._take(message.subject.rsplit(".", 1)[1], message)
        except ValueError:
            raise DecodeError("advert", "has no number in Nats-Sequence") from None
        self._changed()

    def _on_heartbeat(self, message: Inbound) -> None:
        beat = codec.decode(Heartbeat, message.data, "heartbeat")
        key = (beat.agent, beat.incarnation)
        last = self._beats.get(key)
        if last is None or last[0].seq < beat.seq:
            self._beats[key] = (beat, time.monotonic())
            if len(self._beats) > STRANGERS + len(self._cards):
                self._beats = {
                    key: one for key, one in self._beats.items() if self.row(key[0]) is not None
                }
            self._changed()

    def _changed(self) -> None:
        self._news.set()
        if self._on_change is not None:
            self._on_change()

    async def _leave(self) -> None:
        for subscription in self._subscriptions:
            await self._bus.unlisten(subscription)
        self._subscriptions.clear()


def _awaited(row: Row, timeout: float) -> bool:
    return row.load is None and not row.away_ms and row.card.idle <= timeout
