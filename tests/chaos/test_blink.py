"""A connection breaks and comes back; nobody died."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bus import Client
from bus.server import NatsServer
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from tests.chaos.conftest import ACK_WAIT, Staff
from tests.support.proxy import Proxy
from tests.support.runs import Runs
from tests.support.waiting import outcomes

pytestmark = pytest.mark.fault


async def test_no_task_runs_twice_when_agents_blink(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    """Long tasks run on through it, and their results are stored after it."""
    async with (
        own_fleet(server.url) as fleet,
        Client.connect(server.url, fleet) as client,
        Proxy(server.url) as proxy,
    ):
        await staff(server.url, fleet).coordinator("c1")
        agents = staff(proxy.url, fleet)
        await agents.agents("a1", "a2", slots=4)
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 1.5} for i in range(8)]
        )
        await eventually(lambda: len(runs.all()) == 8)
        for blinks in range(1, 4):
            proxy.cut()
            await eventually(lambda blinks=blinks: proxy.accepted >= 2 + 2 * blinks)  # type: ignore[misc]
            await asyncio.sleep(0.3)  # the next fault is one of its own
        results = await outcomes(handles, 20)
        assert Counter(r.state for r in results) == {"completed": 8}
        assert Counter(runs.times().values()) == {1: 8}
        assert {r.attempt for r in results} == {1}


async def test_room_is_not_lost_with_what_was_under_way(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    """Dispatches that a broken connection swallowed come again, and do not count as load for
    ever: not even under load, when there is always something else under way."""
    async with (
        own_fleet(server.url) as fleet,
        Client.connect(server.url, fleet) as client,
        Proxy(server.url) as proxy,
    ):
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        await workers.coordinator("c1")
        await staff(proxy.url, fleet).agent("a1", slots=4)
        consumer = f"{client.bus.subjects.tasks_stream}.nap-p1"
        long = await client.submit("nap", {"key": "long", "seconds": 0.2})
        await long.outcome(5)

        async def under_way() -> bool:
            info = await client.bus.api(f"CONSUMER.INFO.{consumer}")
            return int(info["num_ack_pending"]) == 3

        proxy.hold()
        swallowed = await client.submit_many("nap", [{"key": f"s{i}"} for i in range(3)])
        await eventually(under_way)
        proxy.cut()
        proxy.release()
        stream = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 0.2} for i in range(60)]
        )
        results = await outcomes([*swallowed, *stream], 20)
        assert Counter(r.state for r in results) == {"completed": 63}
        # Of the last of them, four were run at a time.
        starts = sorted(run.at for run in runs.all() if run.key.isdigit())[-17:]
        assert starts[-1] - starts[0] < 17 * 0.2 / 2
        assert Counter(runs.times().values()) == {1: 64}
