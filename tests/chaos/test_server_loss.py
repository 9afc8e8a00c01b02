"""The server is killed and comes back on the same store."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bus import Client
from bus.client.handle import TaskHandle
from bus.server import NatsServer
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from tests.chaos.conftest import ACK_WAIT, Staff
from tests.support.runs import Runs
from tests.support.waiting import outcomes

pytestmark = pytest.mark.fault


async def test_a_killed_server_loses_nothing(server: NatsServer, staff: Staff, runs: Runs) -> None:
    """Under load, twice: agents, coordinators and the client come back by themselves."""
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        await asyncio.gather(workers.coordinator("c1"), workers.coordinator("c2"))
        await workers.agents("a1", "a2", slots=8)
        handles: list[TaskHandle] = []

        async def load() -> None:
            for batch in range(40):
                values = [{"key": f"{batch}-{i}", "seconds": 0.02} for i in range(50)]
                handles.extend(await client.submit_many("nap", values))

        submitting = asyncio.create_task(load())
        for level in (300, 900):
            await eventually(lambda level=level: len(runs.all()) > level, 20)  # type: ignore[misc]
            await server.kill()
            await server.restart()
        async with asyncio.timeout(30):
            await submitting
        results = await outcomes(handles, 40)
        assert len(results) == 2000
        assert Counter(r.state for r in results) == {"completed": 2000}
        # The announcement may be lost with the connection, the stored result is not.
        sample = handles[::100]
        assert [await client.get(handle.id) for handle in sample] == results[::100]
        again = sum(times - 1 for times in runs.times().values())
        print(f"\n{again} of 2000 tasks ran again")


async def test_the_server_is_away_for_longer_than_the_ack_wait(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    """Results of that time are kept by the agents and stored when it is back."""
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        await workers.coordinator("c1")
        await workers.agents("a1", "a2", slots=8)
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 1.0} for i in range(16)]
        )
        await eventually(lambda: len(runs.all()) == 16)
        await server.kill()
        waiting = [asyncio.create_task(handle.result()) for handle in handles]
        await asyncio.sleep(float(ACK_WAIT) * 1.5)
        await server.restart()
        async with asyncio.timeout(20):
            values = await asyncio.gather(*waiting)
        assert sorted(value.split()[0] for value in values) == sorted(map(str, range(16)))
        after = await client.submit("nap", {"key": "after", "seconds": 0.0})
        assert await after.result(15)


async def test_server_and_agent_are_killed_at_once(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    """Nobody is told that the agent is gone: it is not there when the server comes back."""
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        await workers.coordinator("c1")
        victim, _ = await workers.agents("victim", "heir", slots=8)
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 0.5} for i in range(16)]
        )
        await eventually(lambda: len(runs.all()) == 16)
        await asyncio.gather(server.kill(), victim.kill())
        await server.restart()
        results = await outcomes(handles, 20)
        assert Counter((r.state, r.agent) for r in results) == {("completed", "heir"): 16}
        # The server has forgotten what it gave out in its last moments: it gives that out
        # again, to whom has it too.
        assert set(runs.times().values()) <= {1, 2}
