"""The scenario ``failover``, small."""

from __future__ import annotations

import pytest

from bench.harness.figures import Params, at_most
from bench.scenarios import failover
from tests.support.scenarios import figure, smoke, value

pytestmark = [pytest.mark.slow, pytest.mark.fault]


async def test_agents_coordinators_and_the_server_are_killed_and_nothing_is_lost() -> None:
    session = await smoke("failover")
    for fault in (failover.UNTOLD, failover.ALONE, failover.SERVER):
        params: Params = {"killed": fault.name}
        assert value(session, "lost", params=params) == 0
        for metric in ("last affected result", "slowest task", "longest gap"):
            assert value(session, metric, params=params) > 0
        for metric in ("longest gap before", "duplicated", "refused results"):
            assert value(session, metric, params=params) >= 0
        assert figure(session, "lost", params=params).target == at_most(0)
    agent: Params = {"killed": failover.UNTOLD.name}
    assert value(session, "last restart", params=agent) > 0
    assert value(session, "restarted", params=agent) >= 25
    for fault in (failover.ALONE, failover.SERVER):
        assert value(session, "back", params={"killed": fault.name}) > 0
    assert value(session, "first result", params={"killed": failover.SERVER.name}) > 0


def test_the_full_run_has_both_ways_to_hear_of_a_dead_agent_and_a_pair_of_coordinators() -> None:
    assert {fault.events for fault in failover.FAULTS if fault.victim == "agent"} == {True, False}
    assert failover.PAIR in failover.FAULTS
    assert failover.PAIR.coordinators == 2
