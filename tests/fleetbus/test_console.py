"""Numbers for people, JSON for scripts."""

from __future__ import annotations

import json

import pytest

from bus.wire import Heartbeat
from fleetbus import console


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 µs"),
        (0.00085, "850 µs"),
        (0.0009996, "1 ms"),
        (0.0125, "12.5 ms"),
        (0.9996, "1 s"),
        (3.21, "3.21 s"),
        (59.96, "1m 00s"),
        (310, "5m 10s"),
        (7500, "2h 05m"),
        (273600, "3d 04h"),
        (-2, "-2 s"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    assert console.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (45_300_000, "43.2 MiB"),
        (1023 * 1024, "0.999 MiB"),
        (5 * 1024**4, "5 TiB"),
        (5000 * 1024**4, "5e+03 TiB"),
    ],
)
def test_size(count: int, shown: str) -> None:
    assert console.size(count) == shown


def test_age() -> None:
    assert console.age(0) == "-"
    assert console.age(1_000_000, now=1010.0) == "10 s"
    assert console.age(2_000_000, now=1010.0) == "0 µs"  # the other machine's clock is ahead


def test_clean_leaves_nothing_that_drives_a_terminal() -> None:
    assert console.clean("plain ü 漢") == "plain ü 漢"
    assert console.clean("a\x1b[31mb\r\n") == "a\\x1b[31mb\\r\\n"


def test_json_has_every_field_and_is_one_line() -> None:
    text = console.to_json([Heartbeat(agent="a", incarnation="i", seq=1)])
    assert "\n" not in text
    assert json.loads(text)[0]["running"] == 0
