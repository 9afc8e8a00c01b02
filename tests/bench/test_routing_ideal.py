"""The ideal queue, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.routing.ideal import Server, servers, simulate
from bench.routing.mix import Job
from bench.routing.mixed_fleet import AGENTS, SLOTS


@pytest.mark.parametrize(
    ("fleet", "jobs", "took", "share"),
    [
        # One slot: one after the other, in the order of arrival.
        ([Server(1)], [(0.0, 2.0), (1.0, 1.0), (1.5, 0.5)], [2.0, 2.0, 2.0], [1.0]),
        # Nothing is free twice: an end makes room for what arrives at the same moment.
        ([Server(1)], [(0.0, 1.0), (1.0, 1.0)], [1.0, 1.0], [1.0]),
        # The fast one goes first, wherever it stands.
        (
            [Server(1, 4.0), Server(1)],
            [(0.0, 1.0), (0.5, 1.0), (1.25, 1.0)],
            [1.0, 4.0, 1.0],
            [1 / 3, 2 / 3],
        ),
        # A stalled one takes nothing and finishes nothing until it is awake.
        ([Server(2, stalls=((1.0, 3.0),))], [(0.5, 1.0), (2.0, 1.0)], [2.5, 2.0], [1.0]),
        ([Server(1, stalls=((1.0, 3.0),)), Server(1, 4.0)], [(2.0, 0.1)], [0.4], [0.0, 1.0]),
        ([Server(1)], [], [], [0.0]),
    ],
)
def test_simulate(
    fleet: list[Server], jobs: list[tuple[float, float]], took: list[float], share: list[float]
) -> None:
    outcome = simulate([Job(*one) for one in jobs], fleet)
    assert outcome.took == pytest.approx(took)
    assert outcome.share == pytest.approx(share)
    ends = [at + seconds for (at, _), seconds in zip(jobs, took, strict=True)]
    assert outcome.makespan == pytest.approx(max(ends, default=0.0))


@given(
    gaps=st.lists(st.floats(0, 2), max_size=40),
    lengths=st.lists(st.floats(0.001, 3), min_size=40, max_size=40),
    slots=st.integers(1, 3),
)
def test_never_shorter_than_the_task_and_never_idle_with_work(
    gaps: list[float], lengths: list[float], slots: int
) -> None:
    at, jobs = 0.0, []
    for gap, length in zip(gaps, lengths, strict=False):
        at += gap
        jobs.append(Job(at, length))
    outcome = simulate(jobs, [Server(slots)])
    for job, took in zip(jobs, outcome.took, strict=True):
        assert took >= job.length * 0.999
    # Who waits, waits for others: not longer than all of their work takes on one slot.
    work = sum(job.length for job in jobs)
    assert outcome.makespan <= at + work + 1e-6


def test_the_mixed_fleet_is_simulated_as_it_is() -> None:
    fleet = servers(((1.0, 2.0),))
    assert len(fleet) == len(AGENTS) == 8
    assert {server.slots for server in fleet} == {SLOTS}
    assert sorted(server.slowness for server in fleet) == [1.0] * 5 + [4.0] * 3
    assert [bool(server.stalls) for server in fleet].count(True) == 1
