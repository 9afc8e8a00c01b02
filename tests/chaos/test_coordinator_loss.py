"""Coordinators are killed, or stop and come back late. Nothing is in them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from bus import Client
from bus.server import NatsServer
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from tests.chaos.conftest import ACK_WAIT, Staff
from tests.support.runs import Runs
from tests.support.waiting import outcomes

pytestmark = pytest.mark.fault


async def test_one_of_two_coordinators_is_killed_mid_stream(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        doomed = await workers.coordinator("c1")
        await workers.coordinator("c2")
        await workers.agents("a1", "a2", slots=8)
        count = 1500
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 0.01} for i in range(count)]
        )
        await eventually(lambda: len(runs.all()) > count / 5, 10)
        await doomed.kill()
        assert len(runs.all()) < count
        results = await outcomes(handles, 20)
        assert Counter(r.state for r in results) == {"completed": count}
        # What it had on its way comes back; nothing that an agent had is run again.
        assert Counter(runs.times().values()) == {1: count}


async def test_the_only_coordinator_is_killed_and_restarted(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        doomed = await workers.coordinator("c1")
        await workers.agents("a1", "a2", slots=8)
        count = 1000
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 0.01} for i in range(count)]
        )
        await eventually(lambda: len(runs.all()) > count / 5, 10)
        await doomed.kill()
        await workers.coordinator("c1")
        results = await outcomes(handles, 20)
        assert Counter(r.state for r in results) == {"completed": count}
        assert Counter(runs.times().values()) == {1: count}


async def test_a_coordinator_that_stops_in_order_leaves_nothing_behind(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    """It hands back what it holds: the other goes on at once, long before the ack wait."""
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT="30")
        leaving = await workers.coordinator("c1")
        await workers.coordinator("c2")
        await workers.agents("a1", "a2", slots=8)
        count = 1500
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 0.01} for i in range(count)]
        )
        await eventually(lambda: len(runs.all()) > count / 5, 10)
        assert await leaving.stop() == 0
        results = await outcomes(handles, 20)
        assert Counter(r.state for r in results) == {"completed": count}
        assert Counter(runs.times().values()) == {1: count}
        assert {r.attempt for r in results} == {1}


async def test_a_coordinator_that_was_stopped_gives_nothing_out_twice(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    """What it held when it stopped went to the other one, and is not its any more."""
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        sleeper = await workers.coordinator("c1")
        # There is room, so that they are pulled; but not on the one agent that they want, so
        # that they are held.
        await workers.agents("a1", "idle", slots=2)
        wanted = [{"key": f"{i}", "seconds": 0.4} for i in range(2)]
        busy = await client.submit_many("nap", wanted, select="agent=a1")
        await eventually(lambda: len(runs.all()) == 2)
        more = [{"key": f"{i}", "seconds": 0.4} for i in range(2, 8)]
        held = await client.submit_many("nap", more, select="agent=a1")
        consumer = f"{client.bus.subjects.tasks_stream}.nap-p1"

        async def all_pulled() -> bool:
            info = await client.bus.api(f"CONSUMER.INFO.{consumer}")
            return int(info["num_pending"]) == 0

        await eventually(all_pulled)
        sleeper.pause()
        await workers.coordinator("c2")
        # The ack wait runs out, and the other one has them all.
        await eventually(lambda: len(runs.all()) >= 4, 15)
        sleeper.resume()
        results = await outcomes([*busy, *held], 30)
        assert Counter(r.state for r in results) == {"completed": 8}
        assert Counter(runs.times().values()) == {1: 8}


async def test_what_came_while_a_coordinator_was_stopped_is_not_given_out_by_it(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    """It lay in the coordinator's socket until the other one had been given it too."""
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        sleeper = await workers.coordinator("c1")
        await workers.agents("a1", "a2", slots=8)
        before = await client.submit("nap", {"key": "before", "seconds": 0.0})
        await before.outcome(5)
        sleeper.pause()
        # Its orders still stand: all of these are sent to it.
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 1.5} for i in range(8)]
        )
        await workers.coordinator("c2")
        await eventually(lambda: len(runs.all()) == 9, 15)
        sleeper.resume()
        results = await outcomes(handles, 20)
        assert Counter(r.state for r in results) == {"completed": 8}
        assert Counter(runs.times().values()) == {1: 9}


async def test_agent_and_coordinator_are_killed_at_once(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        coordinator = await workers.coordinator("c1")
        await workers.coordinator("c2")
        victim, _ = await workers.agents("victim", "heir", slots=8)
        count = 400
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 0.1} for i in range(count)]
        )
        await eventually(lambda: len(runs.all()) > count / 5, 10)
        killed = time.time()
        await asyncio.gather(victim.kill(), coordinator.kill())
        held = 8
        results = await outcomes(handles, 30)
        assert Counter(r.state for r in results) == {"completed": count}
        twice = [key for key, times in runs.times().items() if times > 1]
        assert len(twice) <= held
        last = max((run.at for run in runs.after(killed) if run.attempt > 1), default=killed)
        print(f"\n{len(twice)} tasks restarted, the last {last - killed:.3f} s after the kill")
