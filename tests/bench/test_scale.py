"""The scenarios ``scale`` and ``broadcast``, small."""

from __future__ import annotations

import pytest

from bench.harness.figures import Params, at_most
from bench.scenarios import broadcast, scale
from tests.support.scenarios import figure, smoke, value

pytestmark = pytest.mark.slow


async def test_a_fleet_joins_lives_on_and_comes_back() -> None:
    session = await smoke("scale")
    params: Params = {"agents": scale.QUICK}
    assert value(session, "registry", params=params) == scale.QUICK
    assert value(session, "restart: lost wrongly", params=params) == 0
    for metric in (
        "converged",
        "heartbeats",
        "tasks/s",
        "coordinator RSS",
        "cold start",
        "cold start, first result",
        "registry, on disk",
        "restart: peak",
        "restart: all registered after",
        "restart: all heard after",
    ):
        assert value(session, metric, params=params) > 0, metric
    for side in ("any agent", "by selector", "by session", "by new session"):
        assert value(session, "decision, p50", side, params) > 0
    # Targets are for the size that the issue names.
    assert figure(session, "coordinator RSS", params=params).target is None
    assert scale._target(scale.FULL, 400) == at_most(400)


async def test_everybody_answers_a_command() -> None:
    session = await smoke("broadcast")
    params: Params = {"agents": broadcast.QUICK}
    assert value(session, "lost replies", params=params) == 0
    assert value(session, "unexpected replies", params=params) == 0
    roster, first, last = (
        value(session, metric, params=params)
        for metric in ("roster", "first reply", broadcast.IN_FULL)
    )
    assert 0 < roster < first <= last
    assert value(session, broadcast.IN_FULL, "bare inbox", params) > 0
    assert value(session, broadcast.IN_FULL, "ours / bare inbox", params) > 0
