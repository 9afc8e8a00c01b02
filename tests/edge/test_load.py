"""The load of an edge agent counts as that of any other agent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime import load as reference
from edge.load import HALF_LIFE, MOST, Load


def test_only_late_coordinators_are_counted() -> None:
    load = Load(1, 0)
    for number in range(3 * MOST):
        load.accept("always")
        load.accept(f"c{number}")
        assert len(load.report()["accepted"]) <= MOST
    accepted = load.report()["accepted"]
    assert accepted.pop("always") == 3 * MOST
    assert accepted == {f"c{number}": 1 for number in range(2 * MOST + 1, 3 * MOST)}


RUNS = st.tuples(
    st.sampled_from(["echo", "hash"]),
    st.floats(0.001, 1e6),
    st.sampled_from([True, True, False, None]),
)
BEATS = st.floats(0, 3 * HALF_LIFE)
STEPS = st.lists(RUNS | BEATS, max_size=30)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(1, 6))
def test_agrees_with_the_runtime(steps: list[Any], slots: int) -> None:
    ours, theirs = Load(slots, 0), reference.Load(slots)
    now = 1.0
    ours.told(0)
    theirs.reported(now)
    for step in steps:
        if isinstance(step, float):
            now += step / 1000
            ours.told(step)
            theirs.reported(now)
        else:
            capability, ms, worked = step
            ours.accept("c1")
            ours.took()
            theirs.accept("c1")
            for one in (ours, theirs):
                one.queued -= 1
                one.running += 1
            soon = ours.finish(capability, ms, worked)
            expected = theirs.finish(capability, ms / 1000, worked)
            if theirs.window == slots:  # the edge does not fetch ahead
                assert soon == expected
            else:
                theirs.window = theirs.beat_window = slots
        assert ours.service_ms == pytest.approx(theirs.service_ms)
        assert ours.failing == pytest.approx(theirs.failing, abs=1e-9)
        assert (ours.done, ours.running, ours.queued) == (theirs.done, theirs.running, 0)
        assert ours.accepted == theirs.accepted


def ran(load: Load, capability: str, ms: float, worked: bool | None) -> bool:
    load.accept("c1")
    load.took()
    load.queued -= 1
    load.running += 1
    return load.finish(capability, ms, worked)


def test_a_failure_is_forgotten_although_another_capability_is_busy() -> None:
    load = Load(1, 0)
    ran(load, "bad", 1, False)
    load.told(1000)
    for _ in range(30):
        ran(load, "good", 1, True)
        load.told(HALF_LIFE)
    assert load.failing == {}
    assert load.service_ms == {"good": pytest.approx(1)}


def test_one_that_seems_slow_is_tried_again_some_day() -> None:
    load = Load(1, 0)
    ran(load, "slow", 8000, True)
    load.told(1000)
    load.told(HALF_LIFE)
    assert load.service_ms["slow"] == pytest.approx(4000)
    for _ in range(20):
        load.told(HALF_LIFE)
    assert load.service_ms["slow"] == pytest.approx(1000)
    ran(load, "slow", 8000, True)
    assert load.service_ms["slow"] == pytest.approx(8000)  # nothing was forgotten for good


@pytest.mark.parametrize(
    ("slots", "queue", "ended", "expected"),
    [(1, 0, 1, [True]), (8, 0, 3, [False, True, True]), (2, 6, 2, [False, True])],
)
def test_a_quarter_of_the_window_is_told_at_once(
    slots: int, queue: int, ended: int, expected: list[bool]
) -> None:
    load = Load(slots, queue)
    load.told(0)
    said = []
    for _ in range(ended):
        load.running += 1
        said.append(load.finish("echo", 1, True))
    assert said == expected
    load.told(0)
    load.running += 1
    assert load.finish("echo", 1, True) == (slots + queue <= 4)


def test_the_end_of_a_task_is_told_when_little_is_known_to_be_free() -> None:
    load = Load(16, 0)
    load.told(0)
    for _ in range(12):
        load.accept("c")
        load.took()
    load.queued, load.running = 0, 12
    assert load.finish("echo", 1, True)


def test_report() -> None:
    load = Load(2, 4)
    ran(load, "echo", 12.345678, True)
    ran(load, "echo", 0.0, True)
    ran(load, "hash", 5, False)
    assert load.report() == {
        "slots": 2,
        "window": 6,
        "running": 0,
        "queued": 0,
        "done": 3,
        "failed": 0,
        "accepted": {"c1": 3},
        "service_ms": {"echo": pytest.approx(0.1111, abs=1e-4)},
        "failing": {"hash": 1.0},
    }
