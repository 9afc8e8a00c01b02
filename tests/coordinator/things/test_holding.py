"""What a thing holds: tables, no server."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bus.wire.card import Capability, Card
from coordinator.things import holding
from coordinator.things.record import Holding, Record

NEW = Holding("blink", 2000, ack="$JS.ACK.new", via="c2")
OLD = Holding("blink", 1000, ack="$JS.ACK.old", via="c1")
READY = Record(
    boot="b1",
    card=Card("relay-1", "b1", capabilities=(Capability("blink"),), slots=2),
    online=True,
    last_ms=1000,
    every=10,
)


def test_taken_and_counted() -> None:
    record, taking = holding.take(READY, "me.2", NEW, 2000)
    assert (taking, record.held, record.accepted) == ("taken", {"me.2": NEW}, {"c2": 1})


@pytest.mark.parametrize(
    ("changes", "job", "now_ms", "taking"),
    [
        ({"online": False}, NEW, 2000, "stopped"),
        ({"card": None}, NEW, 2000, "stopped"),
        ({}, replace(NEW, capability="dim"), 2000, "capability"),
        ({}, NEW, 60_000, "stopped"),
        ({"draining": True}, NEW, 2000, "draining"),
        ({"leaving": True}, NEW, 2000, "draining"),
        ({"held": {"me.1": OLD, "me.3": OLD}}, NEW, 2000, "full"),
    ],
)
def test_refused(changes: dict[str, Any], job: Holding, now_ms: int, taking: str) -> None:
    record = replace(READY, **changes)
    assert holding.take(record, "me.2", job, now_ms) == (record, taking)


@pytest.mark.parametrize("changes", [{}, {"draining": True}, {"last_ms": -100_000}])
def test_held_already_is_answered_with_the_newer_ack(changes: dict[str, Any]) -> None:
    record = replace(READY, held={"me.2": OLD, "me.3": OLD}, **changes)
    after, taking = holding.take(record, "me.2", NEW, 2000)
    assert taking == "held"
    assert after.held["me.2"] == replace(OLD, ack="$JS.ACK.new", via="c2")
    assert after.accepted == {"c2": 1}


def test_counts_of_coordinators_are_bounded_and_the_oldest_go() -> None:
    record = READY
    for number in range(holding.MAX_VIAS + 3):
        record = holding.count(record, f"c{number}")
        record = holding.count(record, "c-always")
    assert len(record.accepted) == holding.MAX_VIAS
    assert record.accepted["c-always"] == holding.MAX_VIAS + 3
    assert "c0" not in record.accepted


@pytest.mark.parametrize(
    ("task", "expected"), [("me.1", True), ("me.0", True), ("you.1", False), ("", False)]
)
def test_whose_end_a_thing_may_tell(task: str, expected: bool) -> None:
    record = replace(READY, held={"me.1": OLD}, past=("me.0",))
    assert holding.knows(record, task) is expected


@pytest.mark.parametrize(
    ("state", "counts"),
    [("completed", (1, 0)), ("failed", (1, 1)), ("expired", (1, 0)), ("", (0, 0))],
)
def test_ended(state: str, counts: tuple[int, int]) -> None:
    record = replace(READY, held={"me.1": OLD})
    after, job = holding.end(record, "me.1", state)
    assert job == OLD
    assert (after.held, after.past, (after.done, after.failed)) == ({}, ("me.1",), counts)
    assert holding.end(after, "me.1", state) == (after, None)


def test_run_times_are_a_moving_mean() -> None:
    record = READY
    for run_ms in (100.0, 100.0, 10_000.0):
        record, _ = holding.take(record, "me.1", OLD, 2000)
        record, _ = holding.end(record, "me.1", "completed", run_ms)
    assert record.service_ms == {"blink": pytest.approx(251.189, abs=0.01)}
