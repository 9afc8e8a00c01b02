"""The broker's time, for devices that have none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge import Agent, clock, port
from edge.runtime import Runtime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.datetimes(datetime(1970, 1, 1, 0, 0, 1), datetime(9999, 12, 31), timezones=st.just(UTC))


@settings(max_examples=60)
@given(TIMES, st.integers(0, 9))
@example(datetime(2000, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC), 9)
@example(datetime(2100, 3, 1, tzinfo=UTC), 0)
@example(datetime(2024, 12, 31, tzinfo=UTC), 3)
def test_any_moment_with_any_fraction(moment: datetime, digits: int) -> None:
    nanoseconds = f"{moment.microsecond:06d}123"
    fraction = "." + nanoseconds[:digits] if digits else ""
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + fraction + "Z"
    kept = int((nanoseconds[:digits] + "000")[:3])
    whole = (moment.replace(microsecond=0) - EPOCH) // timedelta(milliseconds=1)
    assert clock.unix(stamp) == whole + kept


def test_each_day_of_a_leap_cycle() -> None:
    day = datetime(1996, 1, 1, tzinfo=UTC)
    while day.year < 2105:
        stamp = day.strftime("%Y-%m-%dT00:00:00Z")
        assert clock.unix(stamp) == (day - EPOCH) // timedelta(milliseconds=1), stamp
        day += timedelta(days=1)


@pytest.mark.parametrize(
    ("stamp", "ms"),
    [
        ("1970-01-01T00:00:00.001Z", 1),
        ("2026-11-21T04:38:40Z", 1795235920000),
        ("2026-11-21T04:38:40.5Z", 1795235920500),
        ("2026-11-21T04:38:40.123456789Z", 1795235920123),
        ("2016-12-31T23:59:60Z", 1483228800000),
    ],
)
def test_moments(stamp: str, ms: int) -> None:
    assert clock.unix(stamp) == ms


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "Z",
        "2026-11-21",
        "2026-11-21T04:38:40",
        "2026-11-21T04:38:40+02:00",
        "2026-11-21 04:38:40Z",
        "2026-13-21T04:38:40Z",
        "2026-00-21T04:38:40Z",
        "2026-11-00T04:38:40Z",
        "2026-11-32T04:38:40Z",
        "2026-11-21T24:38:40Z",
        "2026-11-21T04:60:40Z",
        "2026-11-21T04:38:61Z",
        "2026-11-21T04:38:40.Z",
        "2026-11-21T04:38:40.x5Z",
        "2026-11-21T04:38:40,5Z",
        "2026-11-21T04:38:40x5Z",
        "2026T11T21T04T38T40Z",
        "202-11-21T04:38:401Z",
        "²026-11-21T04:38:40Z",
        "2026-11-21T04:38:40.²Z",
        "-026-11-21T04:38:40Z",
    ],
)
def test_garbage_is_no_time(stamp: str) -> None:
    assert clock.unix(stamp) == 0


@given(st.text(alphabet="0123456789-T:.Z²٣ ", max_size=30) | st.text())
def test_any_text(text: str) -> None:
    assert clock.unix(text) >= 0 or text.startswith(("0", "1"))


class Ticks:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    made = Ticks()
    monkeypatch.setattr(port, "ticks", made)
    monkeypatch.setattr(port, "unix_ms", lambda: 42)
    return made


def test_the_broker_is_believed_and_not_the_device(ticks: Ticks) -> None:
    one = clock.Clock()
    assert (one.set, one.now()) == (False, 42)
    asked, ticks.now = ticks.now, ticks.now + 100
    one.heard("2026-11-21T04:38:40Z", asked)
    assert one.set
    assert one.now() == 1795235920000 + 50  # half of the round trip ago
    ticks.now += 1234
    assert one.now() == 1795235920050 + 1234


def test_a_slow_answer_is_better_than_none_and_worse_than_a_quick_one(ticks: Ticks) -> None:
    one = clock.Clock()
    asked, ticks.now = ticks.now, ticks.now + 20_000
    one.heard("2026-11-21T04:38:40Z", asked)
    assert (one.set, one.now()) == (True, 1795235920000 + 10_000)
    one.heard("2026-11-21T04:38:51Z", ticks.now - 19_000)
    assert one.now() == 1795235931000 + 9500  # it is quicker than the first
    one.heard("2026-11-21T04:38:55Z", ticks.now - 19_001)
    assert one.now() == 1795235931000 + 9500
    one.heard("2026-11-21T04:38:50Z", ticks.now - 100)
    assert one.now() == 1795235930000 + 50
    one.heard("2026-11-21T04:38:55Z", ticks.now - 6000)
    assert one.now() == 1795235930000 + 50


@pytest.mark.parametrize(("late", "stamp"), [(21_000, "2026-11-21T04:38:40Z"), (10, "now")])
def test_what_says_too_little_is_left_out(ticks: Ticks, late: int, stamp: str) -> None:
    one = clock.Clock()
    asked, ticks.now = ticks.now, ticks.now + late
    one.heard(stamp, asked)
    one.heard("2026-11-21T04:38:40Z", ticks.now + 1)  # asked after it was answered
    assert (one.set, one.now()) == (False, 42)


@pytest.mark.parametrize("wrong", [-86_400_000, 86_400_000])
def test_readings_in_memory_get_the_time_that_is_told_meanwhile(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    told = 1795235920000
    monkeypatch.setattr(port, "unix_ms", lambda: told + wrong + int(ticks.now) - 4000)
    agent = Agent("e1")
    agent.telemetry("t", every=1, batch=6, deadband=1)(bool)
    runtime = Runtime(agent, {})
    [series] = agent.series
    runtime.date("2026-11-21T04:38:37Z", ticks.now - 30_000)  # too old to be believed
    for value in (10, 20):
        series.take(value, runtime.now())
        ticks.now += 1000
    asked, ticks.now = ticks.now, ticks.now + 1000
    runtime.date("2026-11-21T04:38:39.5Z", asked)
    series.take(30, runtime.now())
    assert series.batched() == {
        "series": "t",
        "at_ms": told - 3000,
        "readings": [[0, 10], [1000, 20], [3000, 30]],
    }


def test_the_first_reading_is_kept_after_the_time_was_told(ticks: Ticks) -> None:
    agent = Agent("e1")
    agent.telemetry("t", every=1, min_interval=5)(bool)
    runtime = Runtime(agent, {})
    [series] = agent.series
    runtime.date("2026-11-21T04:38:40Z", ticks.now)
    assert series.take(1, runtime.now())
