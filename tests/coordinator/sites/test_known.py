"""What a site says and what the hub makes of it: the two halves held against each other."""

from __future__ import annotations

import random

import msgspec
import pytest

from bus import codec
from bus.wire.card import Capability, Card
from bus.wire.heartbeat import Heartbeat
from bus.wire.site import SiteReport
from coordinator.sites import report
from coordinator.sites.known import Known
from coordinator.sites.report import Saying, same


class Site:
    """Numbers what is said, as an uplink does."""

    def __init__(self) -> None:
        self.saying = Saying("s1")
        self.seq = 0

    def reports(self) -> list[SiteReport]:
        made = []
        for part in self.saying.take():
            self.seq += 1
            made.append(msgspec.structs.replace(part, coordinator="l1", seq=self.seq))
        return made


def card(agent: str, incarnation: str = "i", site: str = "s1") -> Card:
    return Card(agent, incarnation, site)


def test_the_hub_knows_what_the_site_knows_whatever_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report, "AGENTS", 3)
    rng = random.Random(7)
    for _ in range(200):
        site, hub = Site(), Known("s1")
        for _ in range(30):
            agent = f"a{rng.randrange(8)}"
            match rng.randrange(4):
                case 0:
                    site.saying.card(agent, card(agent, str(rng.randrange(3))))
                case 1:
                    site.saying.card(agent, None)
                case 2:
                    own = site.saying.cards.get(agent)
                    if own is not None:
                        beat = Heartbeat(agent, own.incarnation, 1, "s1", running=rng.randrange(9))
                        site.saying.beat(beat)
                case _:
                    for one in site.reports():
                        if rng.random() < 0.2:
                            continue  # lost
                        if hub.take(one).gap:
                            site.saying.all = True
        for _ in range(3):
            for one in site.reports():
                if hub.take(one).gap:
                    site.saying.all = True
        assert hub.complete
        assert hub.cards == site.saying.cards
        # The hub may remember one of an agent that left and came back in between.
        assert {**hub.beats, **site.saying._beats} == hub.beats


def test_agents_that_claim_another_site_are_not_believed() -> None:
    site = Site()
    assert not site.saying.card("x", card("x", site="s2"))
    assert site.saying.card("x", card("x", site="s2")), "told once"
    assert [one.cards for one in site.reports()] == [()]
    hub = Known("s1")
    told = (card("x", site="s2"),)
    changes = hub.take(SiteReport("s1", "l1", 1, full=True, first=True, last=True, cards=told))
    assert not changes.cards
    assert not hub.cards


def test_what_is_no_news() -> None:
    beat = Heartbeat("a1", "i", 1, "s1", running=1, cpu=0.1, sent_ms=5)
    assert same(beat, msgspec.structs.replace(beat, seq=2, cpu=0.5, rss=7, sent_ms=9, next_in=3))
    assert not same(beat, msgspec.structs.replace(beat, running=2))
    assert not same(None, beat)


def test_nothing_new_is_one_short_report() -> None:
    site = Site()
    site.saying.card("a1", card("a1"))
    assert site.saying.new
    assert [(one.first, one.last, len(one.cards)) for one in site.reports()] == [(True, True, 1)]
    assert not site.saying.new
    [idle] = site.reports()
    assert (idle.cards, idle.beats, idle.gone) == ((), (), ())


@pytest.mark.parametrize("name", ["a b", "a.b", "a\r\nPUB x 0", "", "a*"])
def test_names_that_would_become_parts_of_other_subjects_are_not_believed(name: str) -> None:
    hub = Known("s1")
    offers = Card("a1", "i", "s1", capabilities=(Capability(name),))
    told = (card(name), offers, card("a2"))
    changes = hub.take(SiteReport("s1", "l1", 1, full=True, first=True, last=True, cards=told))
    assert [one.agent for one in changes.cards] == ["a2"]
    assert list(hub.cards) == ["a2"]


def test_agents_that_left_while_nobody_at_the_hub_heard_of_it() -> None:
    site, hub = Site(), Known("s1")
    site.saying.card("a1", card("a1"))
    assert hub.recollect(msgspec.structs.replace(card("a1"), relay="s1"))
    assert hub.recollect(msgspec.structs.replace(card("a2"), relay="s1"))
    [full] = site.reports()
    changes = hub.take(full)
    assert (changes.cards, changes.gone) == ([], ["a2"])
    assert not hub.recollect(card("a2")), "what the site says is newer"


def test_no_report_is_larger_than_a_message() -> None:
    site, hub = Site(), Known("s1")
    for n in range(60):
        schema = {"description": "x" * 20_000}
        offers = (Capability("echo", input_schema=schema),)
        site.saying.card(f"a{n}", Card(f"a{n}", "i", "s1", capabilities=offers))
        site.saying.beat(Heartbeat(f"a{n}", "i", 1, "s1"))
    told = site.reports()
    assert max(len(codec.encode(one)) for one in told) < 2 * report.BYTES
    assert [one.first for one in told] == [True] + [False] * (len(told) - 1)
    assert [one.last for one in told] == [False] * (len(told) - 1) + [True]
    for one in told:
        hub.take(one)
    assert hub.complete
    assert hub.cards == site.saying.cards
    # Changes, too.
    for n in range(60):
        site.saying.card(f"a{n}", msgspec.structs.replace(site.saying.cards[f"a{n}"], slots=2))
    told = site.reports()
    assert max(len(codec.encode(one)) for one in told) < 2 * report.BYTES
    for one in told:
        hub.take(one)
    assert hub.cards == site.saying.cards
