"""The scenario ``pubsub``, small, and what keeps its publishers from drowning subscribers."""

from __future__ import annotations

import asyncio

import pytest

from bench.harness.figures import Params
from bench.sides import pubsub
from bench.sides.pubsub import Credit, Order, Tally
from tests.support.scenarios import smoke, value


def order(
    size: int = 65_536, count: int = 1000, publishers: int = 1, subscribers: int = 1
) -> Order:
    names = tuple(f"s{number}" for number in range(subscribers))
    return Order("topic", "credit", size, count, publishers, names)


@pytest.mark.slow
async def test_all_patterns_and_sizes_are_measured_and_nothing_is_dropped() -> None:
    session = await smoke("pubsub")
    for pattern in ("1→1", "1→4", "4→1"):
        for payload in (16, 128, 1024, 16_384, 65_536):
            params: Params = {"pattern": pattern, "payload": payload}
            for side in ("ours", "bare nats-py"):
                rate = value(session, "messages/s", side, params)
                assert rate > 0
                megabytes = value(session, "MB/s", side, params)
                assert megabytes == pytest.approx(rate * payload / 1e6)
                for role in ("publisher", "subscriber"):
                    spent = session.figure(f"CPU a message, {role}", side, params)
                    assert (spent is not None) == (pattern == "1→1")
            assert value(session, "messages/s", "ours / bare nats-py", params) > 0
    assert value(session, "dropped") == 0
    assert value(session, "dropped", "bare nats-py") == 0


def test_the_window_is_bounded_in_messages_and_in_bytes() -> None:
    assert order(size=16).window == pubsub.WINDOW
    assert order(size=65_536).window == 128
    assert order(size=1 << 30).window == 64


async def test_the_slowest_subscriber_sets_the_credit() -> None:
    credit = Credit(order(publishers=2, subscribers=2))
    assert credit.limit == 64
    credit.heard(b"s0 100")
    assert credit.limit == 64
    credit.heard(b"s1 40")
    assert credit.limit == (40 + 128) // 2
    assert await credit.more(80)


async def test_a_publisher_gives_up_when_nobody_receives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "QUIET", 0.02)
    assert not await Credit(order()).more(128)


async def test_what_does_not_arrive_is_missing_from_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pubsub, "QUIET", 0.05)
    tally = Tally(order(count=20))
    reporting = asyncio.create_task(tally.report())
    assert [tally.received() for _ in range(17)] == [False] * 15 + [True, False]
    assert (await reporting).count == 17
