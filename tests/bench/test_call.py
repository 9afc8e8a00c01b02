"""The scenario ``call``, small."""

from __future__ import annotations

import pytest

from bench.harness.figures import Params, at_most
from tests.support.scenarios import figure, smoke, value

pytestmark = pytest.mark.slow


async def test_calls_are_measured_beside_bare_requests_and_a_queue_group() -> None:
    session = await smoke("call")
    for outstanding in (1, 8, 64):
        params: Params = {"outstanding": outstanding}
        for side in ("ours", "bare request", "queue group"):
            assert value(session, "calls/s", side, params) > 0
            assert value(session, "CPU a call", side, params) > 0
            assert value(session, "p50", side, params) > 0
        assert value(session, "calls/s", "ours / queue group", params) > 0
    one: Params = {"outstanding": 1}
    assert figure(session, "p50", "ours / bare request", one).target == at_most(2.1)
    assert len(session.latencies) == 9
