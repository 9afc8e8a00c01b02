"""What the mixed fleet has to do, and when it stands still."""

from __future__ import annotations

import itertools
import random

import pytest

from bench.routing.mix import USUAL
from bench.routing.mixed_fleet import (
    BETWEEN_STALLS,
    KINDS,
    SLOTS,
    STALL,
    capacity,
    kind_named,
    stalls,
)


def test_the_mean_is_that_of_what_is_drawn() -> None:
    rng = random.Random(1)
    drawn = [USUAL.draw(rng) for _ in range(100_000)]
    assert USUAL.mean == pytest.approx(0.048)
    assert sum(drawn) / len(drawn) == pytest.approx(USUAL.mean, rel=0.05)
    assert sum(map(USUAL.is_short, drawn)) / len(drawn) == pytest.approx(0.8, abs=0.01)
    assert drawn.count(USUAL.long) / len(drawn) == pytest.approx(0.02, abs=0.002)


def test_all_sides_get_the_same_tasks_and_other_rounds_others() -> None:
    jobs = USUAL.jobs(400, 5.0, seed=7)
    assert jobs == USUAL.jobs(400, 5.0, seed=7)
    assert jobs != USUAL.jobs(400, 5.0, seed=8)
    assert len(jobs) == pytest.approx(2000, rel=0.1)
    assert jobs == sorted(jobs)


def test_stalls_are_apart_and_begin_within_the_run() -> None:
    found = stalls(60.0, seed=3)
    assert found == stalls(60.0, seed=3) != stalls(60.0, seed=4)
    assert 6 <= len(found) <= 16
    for begin, end in found:
        assert end - begin == pytest.approx(STALL)
        assert 0 <= begin < 60.0
    for (_, end), (begin, _) in itertools.pairwise(found):
        assert BETWEEN_STALLS[0] <= begin - end <= BETWEEN_STALLS[1]
    assert stalls(0.0, seed=3) == ()


def test_capacity_counts_slow_agents_and_stalls() -> None:
    # 4 fast ones, 3 of a quarter, one that is there five seconds of six.
    assert capacity() == pytest.approx(SLOTS * (4 + 3 / 4 + 5 / 6))


def test_kinds_by_name() -> None:
    assert [kind_named(kind.name) for kind in KINDS] == list(KINDS)
    with pytest.raises(KeyError):
        kind_named("other")
