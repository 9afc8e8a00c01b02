"""Recorded latencies against what they were made of."""

from __future__ import annotations

import random

import pytest

from bench.harness.latency import Latencies


def test_percentiles_are_right_to_a_thousandth() -> None:
    draw = random.Random(7)
    seconds = [draw.expovariate(1 / 0.005) + 0.0002 for _ in range(20_000)]
    made = Latencies.of(seconds)
    ordered = sorted(seconds)
    assert made.count == 20_000
    for share in (50, 90, 99, 99.9):
        exact = ordered[int(len(ordered) * share / 100) - 1] * 1000
        assert made.percentile(share) == pytest.approx(exact, rel=0.005)
    assert made.maximum == pytest.approx(ordered[-1] * 1000, rel=0.002)


def test_what_is_beyond_the_range_is_kept_at_its_edge() -> None:
    made = Latencies.of([0.0, 10_000.0])
    assert made.count == 2
    assert made.percentile(1) == pytest.approx(0.001)
    assert made.maximum == pytest.approx(3_600_000, rel=0.001)


def test_nothing_recorded() -> None:
    assert Latencies().count == 0
    assert Latencies().percentile(99) == 0


def test_encoded_and_added() -> None:
    one, other = Latencies.of([0.001] * 99), Latencies.of([0.5])
    back = Latencies.decode(one.encode())
    back.add(other)
    assert back.count == 100
    assert back.percentile(50) == pytest.approx(1, rel=0.01)
    assert back.maximum == pytest.approx(500, rel=0.01)
