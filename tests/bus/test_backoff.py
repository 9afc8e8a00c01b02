"""Delays that grow and are spread."""

from __future__ import annotations

from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.backoff import full_jitter, retry_delay

TRIES = st.integers(0, 10_000)
SEEDS = st.integers(0, 2**32)


@given(TRIES, SEEDS)
def test_full_jitter_is_between_nothing_and_its_bound(tries: int, seed: int) -> None:
    delay = full_jitter(tries, 0.05, 5.0, Random(seed))
    assert 0.0 <= delay <= min(5.0, 0.05 * 2 ** min(tries, 32))


@pytest.mark.parametrize(("tries", "bound"), [(0, 0.05), (1, 0.1), (3, 0.4), (7, 5.0), (99, 5.0)])
def test_full_jitter_uses_all_of_its_range(tries: int, bound: float) -> None:
    rng = Random(1)
    delays = [full_jitter(tries, 0.05, 5.0, rng) for _ in range(4000)]
    assert mean(delays) == pytest.approx(bound / 2, rel=0.05)
    # The jitter is after the cap: those that have reached it are spread as well.
    assert min(delays) < bound * 0.01
    assert max(delays) > bound * 0.99


@given(st.integers(1, 10_000), SEEDS)
def test_retry_delay_is_never_at_once_and_never_beyond_the_cap(attempt: int, seed: int) -> None:
    bound = min(60.0, 0.5 * 2 ** min(attempt - 1, 32))
    assert bound / 2 <= retry_delay(attempt, 0.5, 60.0, Random(seed)) <= bound


def test_retry_delays_double() -> None:
    rng = Random(1)
    means = [mean(retry_delay(n, 0.5, 60.0, rng) for _ in range(2000)) for n in (1, 2, 3)]
    assert means == pytest.approx([0.375, 0.75, 1.5], rel=0.05)
