"""Which readings are worth sending, and when."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.telemetry import Series

T0 = 1_795_235_811_528


def series(**more: Any) -> Series:
    wanted: dict[str, Any] = {
        "name": "t",
        "every": 1.0,
        "unit": "",
        "deadband": 0.0,
        "min_interval": 0.0,
        "max_interval": 0.0,
        "batch": 1000,
    }
    return Series(**{**wanted, **more})


def kept(made: Series, readings: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Which of ``readings``, at milliseconds since T0, are kept."""
    for at, value in readings:
        made.take(value, T0 + at)
    said = made.batched()
    first = said.get("at_ms", T0) - T0
    return [(first + at, value) for at, value in said.get("readings", [])]


@pytest.mark.parametrize(
    ("settings_", "readings", "expected"),
    [
        ({}, [(0, 1), (1000, 1), (2000, 2)], [0, 1000, 2000]),
        ({"deadband": 0.5}, [(0, 1.0), (1, 1.4), (2, 1.5), (3, 1.9), (4, 1.0)], [0, 2, 4]),
        # Against the last that was kept, so that a slow drift is seen.
        ({"deadband": 1}, [(0, 0.0), (1, 0.6), (2, 1.2), (3, 1.8), (4, 2.3)], [0, 2, 4]),
        ({"deadband": 1}, [(0, "a"), (1, "a"), (2, "b"), (3, [1]), (4, [1])], [0, 2, 3]),
        ({"deadband": 1}, [(0, True), (1, False), (2, None), (3, False)], [0, 1]),
        ({"min_interval": 2}, [(0, 1), (1999, 9), (2000, 9), (2001, 1)], [0, 2000]),
        ({"deadband": 9, "max_interval": 2}, [(0, 1), (1999, 1), (2000, 1), (2001, 1)], [0, 2000]),
        # A heartbeat of the sensor wins over the deadband, and over the shortest pause.
        ({"min_interval": 9, "max_interval": 2}, [(0, 1), (1000, 5), (2500, 5)], [0, 2500]),
        ({}, [(0, None), (1, 0), (2, None)], [1]),
    ],
)
def test_what_is_kept(
    settings_: dict[str, Any], readings: list[tuple[int, Any]], expected: list[int]
) -> None:
    assert [at for at, _ in kept(series(**settings_), readings)] == expected


def test_a_batch_leaves_when_it_is_full_or_its_time_is_over() -> None:
    made = series(batch=3, deadband=1)
    assert not made.take(0, T0)
    assert not made.take(5, T0 + 1000)
    assert made.take(9, T0 + 1500)
    assert made.batched()["readings"] == [[0, 0], [1000, 5], [1500, 9]]
    assert not made.take(20, T0 + 3000)
    assert not made.take(20, T0 + 4999)  # left out, and the batch is not old enough
    assert made.take(20, T0 + 5000)
    assert made.batched()["readings"] == [[0, 20]]
    assert made.batched() == {}


def test_a_batch_of_one_leaves_at_once() -> None:
    made = series(batch=1, unit="°C")
    assert made.take(1, T0)
    assert made.batched() == {"series": "t", "at_ms": T0, "readings": [[0, 1]], "unit": "°C"}


def test_a_sensor_that_has_gone_silent_does_not_hold_its_batch_back() -> None:
    made = series(batch=3)
    assert not made.take(1, T0)
    assert not made.take(None, T0 + 1000)
    assert made.take(None, T0 + 2000)
    assert made.batched()["readings"] == [[0, 1]]
    assert not made.take(None, T0 + 9000)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, b"x", object(), [{"a": b""}]]
)
def test_a_value_that_is_no_json_spoils_no_batch(value: object) -> None:
    made = series(batch=3)
    made.take(1, T0)
    with pytest.raises((TypeError, ValueError)):
        made.take(value, T0 + 1)
    made.take(2, T0 + 2)
    assert json.loads(json.dumps(made.batched()))["readings"] == [[0, 1], [2, 2]]


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    made = series(min_interval=1, batch=4)
    year = 365 * 86_400_000
    made.take(1, T0 + year)
    made.take(2, T0 + year + 1000)
    assert not made.take(3, T0)  # the broker has told the time: this is when the last was taken
    assert not made.take(4, T0 + 1000)
    assert made.take(5, T0 + 2000)
    assert made.batched() == {
        "series": "t",
        "at_ms": T0 - 1000,
        "readings": [[0, 1], [1000, 2], [2000, 4], [3000, 5]],
    }


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"every": 0}, "every is 0.01"),
        ({"every": float("nan")}, "every is 0.01"),
        ({"every": 90_000}, "every is 0.01"),
        ({"batch": 0}, "batch 1 to 1000"),
        ({"batch": 1001}, "batch 1 to 1000"),
        ({"deadband": -1}, "not negative"),
        ({"deadband": float("nan")}, "not negative"),
        ({"min_interval": -0.1}, "not negative"),
        ({"max_interval": -1}, "not negative"),
        ({"name": "a.b"}, "telemetry a.b: use 1 to 64"),
    ],
)
def test_what_is_refused(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        series(**wrong)


STEPS = st.lists(st.tuples(st.integers(-5000, 5000), st.none() | st.integers(-3, 3)), max_size=40)


@settings(max_examples=60)
@given(STEPS, st.integers(1, 5), st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 2.0]))
def test_readings_are_in_order_whatever_the_clock_does(
    steps: list[tuple[int, int | None]], batch: int, deadband: float, pause: float
) -> None:
    made = series(batch=batch, deadband=deadband, min_interval=pause)
    now = T0
    for step, value in steps:
        now += step
        if made.take(value, now):
            said = made.batched()
            offsets = [at for at, _ in said["readings"]]
            assert offsets[0] == 0
            assert offsets == sorted(offsets)
            assert 1 <= len(offsets) <= batch
            assert said["at_ms"] + offsets[-1] <= now
