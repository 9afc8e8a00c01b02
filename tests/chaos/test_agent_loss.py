"""An agent is killed, or stops and comes back late."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from bus import Client
from bus.server import NatsServer
from bus.server_config import ServerConfig
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from tests.chaos.conftest import ACK_WAIT, Staff
from tests.support.runs import Runs
from tests.support.waiting import outcomes

pytestmark = pytest.mark.fault


async def say(client: Client, verb: str, agent: str) -> None:
    """Send one agent a command and wait for its answer."""
    broadcast = client.broadcast(verb, select=f"agent={agent}")
    assert [reply.state async for reply in broadcast] == ["ok"]


@pytest.mark.parametrize(
    ("disconnects", "bound"),
    [(True, 2.0), (False, 4.0)],
    ids=["told-by-the-server", "by-heartbeat"],
)
async def test_tasks_of_a_killed_agent_restart_elsewhere(
    staff: Staff, runs: Runs, disconnects: bool, bound: float
) -> None:
    """Fifty tasks of half a second, forty of them running and ten queued behind them."""
    async with (
        NatsServer(config=ServerConfig(disconnect_events=disconnects)) as server,
        own_fleet(server.url) as fleet,
        Client.connect(server.url, fleet) as client,
    ):
        workers = staff(server.url, fleet)
        await workers.coordinator("c1")
        victim = await workers.agent("victim", slots=40)
        quick = await client.submit_many("nap", [{"key": "quick", "seconds": 0}] * 40)
        await outcomes(quick, 10)  # it reports how fast it is, and is given more than its slots
        await workers.agent("heir", slots=50)
        await say(client, "drain", "heir")
        handles = await client.submit_many("nap", [{"key": f"{i}"} for i in range(50)])
        await eventually(lambda: len(runs.of("victim")) == 80, 10)
        await say(client, "resume", "heir")
        assert not any(handle.finished.done() for handle in handles)
        killed = time.time()
        await victim.kill()
        results = await outcomes(handles, 30)
        assert {(r.state, r.agent) for r in results} == {("completed", "heir")}
        restarts = runs.of("heir")
        assert Counter(run.key for run in restarts) == Counter(str(i) for i in range(50))
        last = max(run.at for run in restarts) - killed
        print(f"\n50 tasks restarted {last:.3f} s after the kill")
        assert last < bound


async def test_an_agent_that_was_stopped_does_not_overwrite_and_rejoins(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        await workers.coordinator("c1")
        sleeper = await workers.agent("sleeper", slots=4)
        handles = await client.submit_many("nap", [{"key": f"{i}"} for i in range(4)])
        await eventually(lambda: len(runs.of("sleeper")) == 4)
        sleeper.pause()
        await workers.agent("heir", slots=4)
        results = await outcomes(handles, 20)
        assert {(r.state, r.agent) for r in results} == {("completed", "heir")}
        assert len(runs.of("heir")) == 4
        sleeper.resume()

        async def back() -> bool:
            return "sleeper" in [card.agent for card in await client.agents()]

        await eventually(back, 10)
        again = await client.submit("nap", {"key": "more"}, select="agent=sleeper")
        assert (await again.outcome(10)).agent == "sleeper"
        # It ended its four meanwhile, and the broker refused what it had to say about them.
        for handle, before in zip(handles, results, strict=True):
            assert await client.get(handle.id) == before


async def test_what_came_while_an_agent_was_stopped_is_not_run_by_it(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    """It lay in the agent's socket until others had done it."""
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet, FLEETBUS_TOPOLOGY_ACK_WAIT=ACK_WAIT)
        await workers.coordinator("c1")
        sleeper, _ = await workers.agents("sleeper", "heir", slots=4)
        sleeper.pause()
        handles = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 0.1} for i in range(8)]
        )
        results = await outcomes(handles, 20)
        assert {(r.state, r.agent) for r in results} == {("completed", "heir")}
        sleeper.resume()
        again = await client.submit("nap", {"key": "more"}, select="agent=sleeper")
        assert await again.result(10) == "more by sleeper"
        assert Counter(runs.times().values()) == {1: 9}


async def test_a_task_that_kills_its_agent_dies_and_the_innocent_live(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet)
        await workers.coordinator("c1")
        await workers.agents("a1", "a2", "a3", "a4", slots=4)
        killer = await client.submit("killer", {"key": "killer"})
        innocent = await client.submit_many(
            "nap", [{"key": f"{i}", "seconds": 0.05} for i in range(200)]
        )
        result = await killer.outcome(20)
        assert result.state == "failed"
        assert result.attempt == 3
        assert result.error is not None
        assert result.error.kind == "AgentLost"
        [dead] = [one async for one in client.dead.list()]
        assert (dead.task, dead.capability, dead.attempt) == (killer.id, "killer", 3)
        assert "3 times" in dead.error.message
        assert [run.attempt for run in runs.all() if run.key == "killer"] == [1, 2, 3]
        assert {r.state for r in await outcomes(innocent, 20)} == {"completed"}
        assert len(await client.agents()) == 1
