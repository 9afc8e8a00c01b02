"""What a site has to say of its agents: what is new since it was said last. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from bus import codec
from bus.wire.card import Card
from bus.wire.heartbeat import Heartbeat
from bus.wire.site import SiteReport

AGENTS: Final = 200
"""Agents in one message, at most."""

BYTES: Final = 256 * 1024
"""Bytes of what is said of agents in one message, unless one alone has more: a card with its
schemas may have many KB, and a report that the server does not take is never heard."""

_QUIET: Final = {"seq": 1, "sent_ms": 0, "cpu": 0.0, "rss": 0, "next_in": 0.0, "interval": 0.0}
"""Fields of a heartbeat that are no news by themselves."""


def same(one: Heartbeat | None, other: Heartbeat) -> bool:
    """True if ``other`` says nothing new after ``one``."""
    if one is None:
        return False
    plain = msgspec.structs.replace
    return plain(one, **_QUIET) == plain(other, **_QUIET)


@dataclass(slots=True)
class Saying:
    """The agents of a site, and what has been said of them."""

    site: str
    cards: dict[str, Card] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)
    """Agents that claim another site: the hub would not find them here."""
    _beats: dict[str, Heartbeat] = field(default_factory=dict)
    _said: dict[str, Heartbeat] = field(default_factory=dict)
    _cards: dict[str, None] = field(default_factory=dict)
    _news: dict[str, None] = field(default_factory=dict)
    _gone: dict[str, None] = field(default_factory=dict)
    all: bool = True
    """Everything is to be said anew."""

    @property
    def new(self) -> bool:
        """There is something to say."""
        return bool(self.all or self._cards or self._news or self._gone)

    def card(self, agent: str, card: Card | None) -> bool:
        """An agent has joined, changed or, with None, gone. False for one that says it is at
        another site."""
        if card is not None and card.site != self.site:
            known = agent in self.strangers
            self.strangers.add(agent)
            card = None
            if agent not in self.cards:
                return known
        elif card is None:
            self.strangers.discard(agent)
        if card is None:
            self._beats.pop(agent, None)
            self._said.pop(agent, None)
            self._news.pop(agent, None)
            self._cards.pop(agent, None)
            if self.cards.pop(agent, None) is not None:
                self._gone[agent] = None
            return True
        self._gone.pop(agent, None)
        old = self.cards.get(agent)
        if old is not None and old.incarnation != card.incarnation:
            self._beats.pop(agent, None)
            self._said.pop(agent, None)
            self._news.pop(agent, None)
        if old != card:
            self.cards[agent] = card
            self._cards[agent] = None
        return True

    def beat(self, beat: Heartbeat) -> None:
        """An agent was heard."""
        card = self.cards.get(beat.agent)
        if card is None or card.incarnation != beat.incarnation or beat.site != self.site:
            return
        self._beats[beat.agent] = beat
        if not same(self._said.get(beat.agent), beat):
            self._news[beat.agent] = None

    def take(self) -> Iterator[SiteReport]:
        """Reports of all that is new, at least one; it counts as said. Without their numbers."""
        full, self.all = self.all, False
        agents = dict.fromkeys(self.cards) if full else {**self._cards, **self._news}
        new, gone = self._cards, () if full else tuple(self._gone)
        self._cards, self._gone, self._news = {}, {}, {}
        parts = list(self._parts(agents)) or [[]]
        for number, part in enumerate(parts):
            first, last = number == 0, number == len(parts) - 1
            yield SiteReport(
                self.site,
                "",
                0,
                full=full,
                first=full and first,
                last=full and last,
                cards=tuple(self.cards[one] for one in part if full or one in new),
                gone=gone if first else (),
                beats=self._tell(part),
            )

    def _parts(self, agents: Iterable[str]) -> Iterator[list[str]]:
        """``agents``, as many at a time as fit into one message."""
        part: list[str] = []
        size = 0
        for agent in agents:
            more = len(codec.encode(self.cards[agent]))
            more += len(codec.encode(self._beats[agent])) if agent in self._beats else 0
            if part and (len(part) == AGENTS or size + more > BYTES):
                yield part
                part, size = [], 0
            part.append(agent)
            size += more
        if part:
            yield part

    def _tell(self, agents: list[str]) -> tuple[Heartbeat, ...]:
        told = tuple(self._beats[one] for one in agents if one in self._beats)
        self._said.update((one.agent, one) for one in told)
        return told
