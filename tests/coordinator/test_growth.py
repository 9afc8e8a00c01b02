"""A fleet that grows: everybody is told of the interval, however slowly it grows."""

from __future__ import annotations

import math

from bus import Bus, policy
from bus.settings import load
from bus.topology import TopologySettings
from coordinator import Coordinator, CoordinatorSettings
from tests.support.view import agent


async def test_a_fleet_that_grows_slowly_is_told_of_its_interval(
    nats_url: str, fleet: str, bus: Bus
) -> None:
    settings = CoordinatorSettings(max_rate=10.0)
    async with Coordinator.connect(nats_url, fleet, settings=settings) as coordinator:
        for number in range(200):
            agent(coordinator.view, f"a{number}")
            await coordinator._rescale()
        told = await policy.read(bus)
    assert math.isclose(told.interval, 20.0, rel_tol=0.25)
    assert told.lease == math.ceil(told.interval * 4)


def test_coordinators_come_back_before_the_agents() -> None:
    def reconnect_max(**settings: float) -> float:
        made = Coordinator(load(settings), CoordinatorSettings(), TopologySettings())
        return made.bus.settings.reconnect_max

    assert reconnect_max() == 0.5
    assert reconnect_max(reconnect_max=0.2) == 0.2
