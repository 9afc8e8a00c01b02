"""What a site has reported of its agents, put together report by report. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from bus.subjects import TOKEN
from bus.wire.card import Card
from bus.wire.heartbeat import Heartbeat
from bus.wire.site import SiteReport


@dataclass(slots=True)
class Changes:
    """What a report has changed."""

    cards: list[Card] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)
    gap: bool = False
    """Something was missed: all agents must be reported anew."""


@dataclass(slots=True)
class Known:
    """A site's agents, as far as heard."""

    site: str
    cards: dict[str, Card] = field(default_factory=dict)
    beats: dict[str, Heartbeat] = field(default_factory=dict)
    complete: bool = False
    """All agents have been named since the last gap."""
    last: SiteReport | None = None
    _named: set[str] | None = None

    def recollect(self, card: Card) -> bool:
        """An agent that the hub's registry has. Unless the site names it, it has left while nobody
        at the hub heard of it. False if more is known already."""
        if self.complete or card.agent in self.cards:
            return False
        self.cards[card.agent] = msgspec.structs.replace(card, relay="")
        return True

    def take(self, report: SiteReport) -> Changes:
        """A report has come. Agents that claim another site are not believed, nor those with
        names that are none: they would become parts of subjects."""
        changes = Changes()
        before = self.last
        follows = (
            before is not None
            and before.coordinator == report.coordinator
            and before.seq + 1 == report.seq
        )
        self.last = report
        if report.full and report.first:
            self._named = set()
        elif not follows:
            self._named = None
            self.complete = False
        for card in report.cards:
            if card.site != self.site or not _legal(card):
                continue
            if self._named is not None and report.full:
                self._named.add(card.agent)
            if self.cards.get(card.agent) != card:
                old = self.cards.get(card.agent)
                if old is not None and old.incarnation != card.incarnation:
                    self.beats.pop(card.agent, None)
                self.cards[card.agent] = card
                changes.cards.append(card)
        for agent in report.gone:
            self._drop(agent, changes)
        for beat in report.beats:
            own = self.cards.get(beat.agent)
            if own is not None and own.incarnation == beat.incarnation and beat.site == self.site:
                self.beats[beat.agent] = beat
                changes.beats.append(beat)
        if report.full and report.last and self._named is not None:
            for agent in self.cards.keys() - self._named:
                self._drop(agent, changes)
            self._named = None
            self.complete = True
        changes.gap = not self.complete and self._named is None
        return changes

    def _drop(self, agent: str, changes: Changes) -> None:
        self.beats.pop(agent, None)
        if self.cards.pop(agent, None) is not None:
            changes.gone.append(agent)


def _legal(card: Card) -> bool:
    names = (card.agent, *(one.name for one in card.capabilities))
    return all(TOKEN.fullmatch(name) for name in names)
