"""What each word of a thing makes of its record: tables, no server."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bus.wire.card import Capability, Card
from bus.wire.thing import ThingAnnounce, ThingState
from coordinator.things import living
from coordinator.things.living import Refused
from coordinator.things.record import NOTHING, PAST, Holding, Record, late, remembered

BLINK = (Capability("blink"),)
JOB = Holding("blink", 1000, sent_ms=1000, ack="$JS.ACK.x")
HERE = Record(
    boot="b1",
    card=Card("relay-1", "b1", capabilities=BLINK, slots=2, started_ms=1000),
    online=True,
    seen=10,
    seen_ms=1000,
    last_ms=1000,
    leased_ms=1000,
    accepted={"c1": 3},
    held={"me.1": JOB},
    names=("blink",),
)


def announce(boot: str = "b1", **fields: Any) -> ThingAnnounce:
    return ThingAnnounce(boot, capabilities=BLINK, **fields)


def test_the_first_announce_joins() -> None:
    record, news = living.announced(NOTHING, "relay-1", announce(site="berlin"), 5, 2000)
    assert news == living.Announced("joined", {}, {})
    assert (record.boot, record.online, record.seen, record.last_ms) == ("b1", True, 5, 2000)
    assert record.card is not None
    assert record.card.labels == {"link": "mqtt"}
    assert record.card.started_ms == 2000


def test_another_boot_gives_back_what_the_old_one_held() -> None:
    record, news = living.announced(HERE, "relay-1", announce("b2"), 11, 2000)
    assert news == living.Announced("joined", {"me.1": JOB}, {})
    assert (record.held, record.past, record.accepted) == ({}, ("me.1",), {})


@pytest.mark.parametrize(("listed", "again"), [(("me.1",), {}), ((), {"me.1": JOB})])
def test_the_same_boot_goes_on(listed: tuple[str, ...], again: dict[str, Holding]) -> None:
    leaving = replace(HERE, leaving=True)
    record, news = living.announced(leaving, "relay-1", announce(tasks=listed), 11, 2000)
    assert news == living.Announced("", {}, again)
    assert (record.leaving, record.accepted) == (False, {"c1": 3})
    assert record.held["me.1"].sent_ms == (2000 if again else 1000)
    assert record.card is not None
    assert record.card.started_ms == 1000


def test_one_that_was_lost_returns() -> None:
    lost, held = living.gone(HERE, "b1", 10, 1500)
    assert held == {"me.1": JOB}
    _, news = living.announced(lost, "relay-1", announce(), 11, 2000)
    assert news == living.Announced("returned", {}, {})


def test_an_older_word_changes_nothing() -> None:
    assert living.announced(HERE, "relay-1", announce("b0"), 9, 900) == (HERE, None)
    quiet = living.Stated({}, {}, {}, renew=False)
    assert living.stated(HERE, ThingState("b1"), 9, 900, 30) == (HERE, quiet)
    assert living.doubted(HERE, "b1", 9, 900) == (HERE, False)
    assert living.gone(HERE, "b1", 9, 900) == (HERE, None)


def test_a_stream_that_was_made_anew_counts_from_one_and_is_heard() -> None:
    record, stated = living.stated(HERE, ThingState("b1", tasks=("me.1",)), 1, 2000, 30)
    assert stated is not None
    assert (record.seen, record.last_ms, stated.alive) == (1, 2000, {"me.1": JOB})
    assert living.announced(HERE, "relay-1", announce("b2"), 1, 2000)[0].boot == "b2"
    assert living.doubted(HERE, "b1", 1, 2000)[1]
    assert living.gone(HERE, "b1", 1, 2000)[1] == {"me.1": JOB}


def test_a_word_that_is_said_twice_changes_nothing_the_second_time() -> None:
    once, _ = living.announced(NOTHING, "relay-1", announce(), 5, 2000)
    assert living.announced(once, "relay-1", announce(), 5, 2000)[0] == once
    said = ThingState("b1", tasks=("me.1",), config="abc")
    once, _ = living.stated(HERE, said, 11, 2000, 30)
    assert living.stated(once, said, 11, 2000, 30)[0] == once


def test_a_label_cannot_hide_what_it_is() -> None:
    said = announce(labels={"link": "nats", "a": "b"})
    assert living.card_of("relay-1", said, 0).labels == {"link": "mqtt", "a": "b"}


@pytest.mark.parametrize(
    "said",
    [
        ThingAnnounce("b", site="a.b"),
        ThingAnnounce("b", capabilities=(Capability("*"),)),
        ThingAnnounce("b", capabilities=(*BLINK, *BLINK)),
        ThingAnnounce("b", commands=("a b",)),
        ThingAnnounce("b", labels={f"l{n}": "" for n in range(33)}),
    ],
)
def test_what_makes_no_card_is_refused(said: ThingAnnounce) -> None:
    with pytest.raises(Refused):
        living.check(said)


def test_capabilities_are_bounded_for_life() -> None:
    many = replace(HERE, names=tuple(f"c{n}" for n in range(living.MAX_NAMES)))
    with pytest.raises(Refused, match="65 different capabilities"):
        living.announced(many, "relay-1", announce(), 11, 2000)


@pytest.mark.parametrize(
    ("record", "boot"),
    [(NOTHING, "b1"), (HERE, "b2"), (replace(HERE, online=False), "b1")],
    ids=["stranger", "another boot", "lost"],
)
def test_a_state_of_nobody_asks_for_an_announce(record: Record, boot: str) -> None:
    assert living.stated(record, ThingState(boot), 11, 2000, 30) == (record, None)


@pytest.mark.parametrize(
    ("at_ms", "listed", "alive", "again", "overdue", "renew"),
    [
        (2000, ("me.1",), True, False, False, False),
        (2000, (), False, False, False, False),
        (3001, (), False, True, False, False),
        (5000, ("me.1",), True, False, True, False),
        (5000, (), False, False, True, False),
        (10_999, ("me.1",), True, False, True, False),
        (11_000, ("me.1",), True, False, True, True),
    ],
)
def test_what_a_state_leads_to(
    at_ms: int, listed: tuple[str, ...], alive: bool, again: bool, overdue: bool, renew: bool
) -> None:
    job = replace(JOB, deadline_ms=4000)
    before = replace(HERE, held={"me.1": job}, leaving=True)
    record, news = living.stated(before, ThingState("b1", tasks=listed), 11, at_ms, 30)
    one = {"me.1": job}
    assert news == living.Stated(
        one if alive else {}, one if again else {}, one if overdue else {}, renew
    )
    assert (record.last_ms, record.leaving) == (at_ms, False)
    assert record.held["me.1"].sent_ms == (at_ms if again else 1000)
    assert record.leased_ms == (at_ms if renew else 1000)


def test_a_will_doubts_and_then_ends() -> None:
    doubted, there = living.doubted(HERE, "b1", 12, 1500)
    assert (doubted.leaving, doubted.online, there) == (True, True, True)
    gone, held = living.gone(doubted, "b1", 12, 1500)
    assert (gone.online, gone.leaving, gone.held, gone.past) == (False, False, {}, ("me.1",))
    assert held == {"me.1": JOB}
    assert living.gone(gone, "b1", 12, 1500) == (gone, None)


def test_a_will_of_another_boot_or_before_a_word_says_nothing() -> None:
    assert living.doubted(HERE, "b0", 12, 1500) == (HERE, False)
    doubted, _ = living.doubted(HERE, "b1", 12, 1500)
    back, _ = living.announced(doubted, "relay-1", announce(), 13, 2000)
    assert living.gone(back, "b1", 12, 1500) == (back, None)


@pytest.mark.parametrize(
    ("now_ms", "every", "expected"),
    [(4000, 1.0, False), (4001, 1.0, True), (22_000, 10.0, False), (22_001, 10.0, True)],
)
def test_when_one_is_missed(now_ms: int, every: float, expected: bool) -> None:
    record = replace(HERE, every=every)
    assert late(record, now_ms) is expected
    changed, held = living.missed(record, now_ms)
    assert changed.online is not expected
    assert held == ({"me.1": JOB} if expected else None)


def test_drained_once() -> None:
    drained, new = living.drained(HERE, True)
    assert (drained.draining, new, drained.state) == (True, True, "draining")
    assert living.drained(drained, True) == (drained, False)


def test_the_past_is_bounded_and_has_each_task_once() -> None:
    record = replace(HERE, past=tuple(f"me.{n}" for n in range(PAST)))
    assert remembered(record, {"me.5": JOB})[-1] == "me.5"
    assert len(remembered(record, {"me.5": JOB})) == PAST
    assert remembered(record, {"you.1": JOB})[0] == "me.1"


def test_the_past_has_no_calls() -> None:
    held = {"me.call-1": replace(JOB, ack="", reply="_INBOX.1"), "me.1": JOB}
    lost, _ = living.gone(replace(HERE, held=held), "b1", 11, 1500)
    rebooted, _ = living.announced(replace(HERE, held=held), "relay-1", announce("b2"), 11, 2000)
    assert (lost.past, rebooted.past) == (("me.1",), ("me.1",))


def test_one_will_waits_at_a_time() -> None:
    doubted, first = living.doubted(HERE, "b1", 11, 1500)
    assert first
    assert living.doubted(doubted, "b1", 12, 1500) == (doubted, False)
    # The one that waits still counts.
    assert living.gone(doubted, "b1", 11, 1500)[1] == {"me.1": JOB}


def test_two_that_take_turns_are_found_out() -> None:
    record, found = NOTHING, []
    for number, boot in enumerate(("a", "b", "b", "c", "b", "c")):
        record, news = living.announced(record, "relay-1", announce(boot), 5 + number, 2000)
        assert news is not None
        found.append(news.twin)
    assert found == [False, False, False, False, True, True]


def test_who_began_a_boot_and_comes_again_has_joined_again() -> None:
    """Perhaps whoever took it first has died before telling anybody."""
    once, first = living.announced(HERE, "relay-1", announce("b2"), 11, 2000)
    _, second = living.announced(once, "relay-1", announce("b2"), 11, 2000)
    assert first is not None
    assert second is not None
    assert (first.news, second.news) == ("joined", "joined")
    _, third = living.announced(once, "relay-1", announce("b2"), 12, 3000)
    assert third is not None
    assert third.news == ""
