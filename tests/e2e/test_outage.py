"""The server is away: what is under way waits, and everything can be left all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent_runtime import Agent
from bus import Client
from bus.errors import Disconnected
from bus.server import NatsServer
from bus.testing import eventually, fresh_fleet
from bus.testing import fleet as own_fleet
from bus.topology import TopologySettings
from coordinator import Coordinator


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    async with NatsServer() as running:
        yield running


def sleeper() -> Agent:
    agent = Agent("sleeper", slots=3, grace=0.2)

    @agent.capability("sleep")
    async def sleep(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    return agent


@pytest.mark.fault
@pytest.mark.parametrize("key", ["", "order-17"])
async def test_what_is_submitted_while_the_server_is_away_is_stored_when_it_is_back(
    server: NatsServer, key: str
) -> None:
    fleet = fresh_fleet()
    async with (
        Coordinator.connect(server.url, fleet),
        sleeper().connect(server.url, fleet),
        Client.connect(server.url, fleet, request_timeout=1.2) as client,
    ):
        await server.kill()
        await eventually(lambda: not client.bus.connected)
        submitting = asyncio.create_task(client.submit("sleep", {"seconds": 0.0}, key=key))
        # Longer than one question waits for its answer.
        done, _ = await asyncio.wait((submitting,), timeout=1.5)
        assert not done
        await server.restart()
        assert await (await submitting).result(timeout=10) == 0.0


@pytest.mark.fault
async def test_leaving_without_a_server_does_not_hide_why(server: NatsServer) -> None:
    fleet = fresh_fleet()
    async with Coordinator.connect(server.url, fleet):
        pass  # makes the fleet

    async def fail() -> None:
        async with Client.connect(server.url, fleet) as client:
            await server.kill()
            await eventually(lambda: not client.bus.connected)
            client.bus.send("fleet.elsewhere", b"unsent")
            raise KeyError("inside")

    with pytest.raises(Disconnected, match="never sent") as caught:
        await fail()
    assert isinstance(caught.value.__context__, KeyError)


async def test_all_can_be_left_while_the_server_is_away(server: NatsServer) -> None:
    """In seconds, with nothing left running; only what would be lost is an error."""
    fleet = fresh_fleet()
    before = asyncio.all_tasks()
    coordinator = await Coordinator.connect(server.url, fleet).__aenter__()
    runtime = await sleeper().connect(server.url, fleet).__aenter__()
    client = await Client.connect(server.url, fleet).__aenter__()
    await client.submit_many("sleep", [{"seconds": 30.0}] * 2)
    await eventually(lambda: runtime.load.running == 2)
    await client.submit("sleep", {"seconds": 30.0}, select="gpu")
    await eventually(lambda: coordinator.dispatcher.all_held() == 1)
    await server.kill()
    buses = (client.bus, runtime.bus, coordinator.bus)
    await eventually(lambda: not any(bus.connected for bus in buses))
    async with asyncio.timeout(10):
        left = await asyncio.gather(
            client.__aexit__(None, None, None),
            runtime.__aexit__(None, None, None),
            coordinator.__aexit__(None, None, None),
            return_exceptions=True,
        )
    assert [one for one in left if not isinstance(one, Disconnected | None)] == []
    leftover = [task.get_name() for task in asyncio.all_tasks() - before]
    assert leftover == []


async def test_a_wait_without_a_timeout_ends_after_the_outage(server: NatsServer) -> None:
    """The announcement of the result may be lost with the connection; the result is not."""
    async with (
        own_fleet(server.url) as fleet,
        Client.connect(server.url, fleet) as client,
        Coordinator.connect(server.url, fleet, topology_settings=TopologySettings(ack_wait=2)),
        sleeper().connect(server.url, fleet),
    ):
        for _ in range(3):
            handle = await client.submit("sleep", {"seconds": 0.3})
            waiting = asyncio.ensure_future(handle.result())
            await server.kill()
            await asyncio.sleep(0.4)
            await server.restart()
            assert await asyncio.wait_for(waiting, 15) == 0.3


async def test_calls_and_commands_work_again_after_the_outage(server: NatsServer) -> None:
    async with (
        own_fleet(server.url) as fleet,
        Client.connect(server.url, fleet) as client,
        Coordinator.connect(server.url, fleet) as coordinator,
        sleeper().connect(server.url, fleet) as runtime,
    ):
        assert await client.call("sleep", {"seconds": 0.0}) == 0.0
        await server.kill()
        await server.restart()
        buses = (client.bus, coordinator.bus, runtime.bus)
        await eventually(lambda: all(bus.generation for bus in buses), 10)
        assert await client.call("sleep", {"seconds": 0.01}, timeout=5) == 0.01
        replies = [reply async for reply in client.broadcast("ping", timeout=5)]
        assert [(reply.agent, reply.output) for reply in replies] == [("sleeper", "pong")]
        assert [card.agent for card in await client.agents()] == ["sleeper"]
