"""The routing policy, held to its target where no machine disturbs: in virtual time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.routing import ideal, virtual
from bench.routing.ideal import Outcome, Server
from bench.routing.mix import USUAL, Job
from bench.routing.mixed_fleet import capacity, stalls

SECONDS = 12.0
SEEDS = (1, 2, 3)


def p99(outcome: Outcome, jobs: Sequence[Job], short: bool) -> float:
    took = sorted(
        one
        for one, job in zip(outcome.took, jobs, strict=True)
        if not short or USUAL.is_short(job.length)
    )
    return took[int(len(took) * 0.99)]


@pytest.mark.parametrize("load", [50, 80, 95])
def test_a_mixed_fleet_is_served_nearly_as_by_the_ideal_queue(load: int) -> None:
    everything, short = [], []
    for seed in SEEDS:
        jobs = USUAL.jobs(capacity() / USUAL.mean * load / 100, SECONDS, seed)
        fleet = ideal.servers(stalls(SECONDS, seed))
        ours, best = virtual.simulate(jobs, fleet, seed), ideal.simulate(jobs, fleet)
        everything.append(p99(ours, jobs, short=False) / p99(best, jobs, short=False))
        # A slow agent takes up to 80 ms for a short task: below that a queue beats a slot there.
        short.append(p99(ours, jobs, short=True) / max(0.08, p99(best, jobs, short=True)))
    assert sum(everything) / len(everything) <= 1.3
    assert sum(short) / len(short) <= 1.5


def test_at_half_load_slow_agents_are_left_alone() -> None:
    """Fast ones have room for nearly everything, long tasks or not."""
    jobs = USUAL.jobs(capacity() / USUAL.mean * 0.5, SECONDS, 1)
    fleet = ideal.servers(())
    share = virtual.simulate(jobs, fleet, 1).share
    slow = sum(part for part, server in zip(share, fleet, strict=True) if server.slowness > 1)
    assert slow < 0.03


def test_every_task_is_done_and_the_same_every_time() -> None:
    jobs = USUAL.jobs(400, 2.0, seed=5)
    fleet = ideal.servers(stalls(2.0, seed=5))
    once, twice = virtual.simulate(jobs, fleet, 5), virtual.simulate(jobs, fleet, 5)
    assert once == twice
    assert all(took > job.length for took, job in zip(once.took, jobs, strict=True))
    assert sum(once.share) == pytest.approx(1.0)


def test_a_fleet_without_work_to_spare_uses_all_of_its_slots() -> None:
    """Agents with one slot and tasks of a tenth of a second: a report that is held back for long
    would cost a good part of each."""
    jobs = [Job(number * 0.1 / 8 / 0.95, 0.1) for number in range(2000)]
    outcome = virtual.simulate(jobs, [Server(1)] * 8, 1)
    assert sorted(outcome.took)[1980] < 0.25


def test_over_a_slow_network_more_is_sent_ahead() -> None:
    """Forty milliseconds from report to task, on slots that need ten for one."""
    jobs = [Job(number * 0.01 / 32 / 0.8, 0.01) for number in range(6000)]
    outcome = virtual.simulate(jobs, [Server(4)] * 8, 1, hop=0.01)
    assert outcome.makespan < jobs[-1].at * 1.1
