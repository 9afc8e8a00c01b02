"""The scenario ``routing``, small."""

from __future__ import annotations

import pytest

from bench.harness.figures import Params, at_most
from bench.routing.clients import GROUP, OURS, SIDES
from bench.scenarios.routing import HELD, IDEAL, LOADS, MODEL
from tests.support.scenarios import figure, smoke, value

pytestmark = pytest.mark.slow


async def test_all_sides_have_the_same_tasks_done_and_are_held_against_the_ideal() -> None:
    session = await smoke("routing")
    counts = {one.params["load"]: set[int]() for one in session.latencies}
    assert set(counts) == set(LOADS)
    for load in LOADS:
        params: Params = {"load": load}
        for side in (*SIDES, MODEL, IDEAL):
            assert value(session, "p99 of short tasks", side, params) > 0
            assert value(session, "makespan", side, params) > 0
        assert value(session, "makespan", f"{OURS} / {GROUP}", params) > 0
    measured = [(one.side, one.params["load"]) for one in session.latencies]
    assert sorted(measured) == sorted(
        (side, load) for side in (*SIDES, MODEL, IDEAL) for load in LOADS
    )
    assert all(one.open_loop for one in session.latencies)
    held: Params = {"load": HELD}
    if session.figure("p99", f"{OURS} / {GROUP}", held) is not None:
        assert figure(session, "p99", f"{OURS} / {GROUP}", held).target == at_most(0.4)
        assert figure(session, "p99", f"{OURS} / {IDEAL}", held).target == at_most(1.3)
