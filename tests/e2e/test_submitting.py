"""Submitting: what is promised once ``submit`` has returned, and when it refuses."""

from __future__ import annotations

import asyncio

import pytest

from agent_runtime import Agent, Task
from bus import Client
from bus.errors import (
    InvalidName,
    InvalidSelector,
    MessageTooBig,
    QueueFull,
    TaskNotFound,
    TaskRejected,
)
from bus.server import NatsServer
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from bus.topology import TopologySettings
from coordinator import Coordinator
from tests.conftest import Join
from tests.support.waiting import outcomes


def counter(ran: list[str]) -> Agent:
    agent = Agent("counter", slots=4)

    @agent.capability("count")
    async def count(task: Task, value: str = "") -> str:
        ran.append(task.id)
        await asyncio.sleep(0.05)
        return f"{value} in run {len(ran)}"

    return agent


async def test_tasks_of_a_client_that_is_gone_are_done_when_somebody_comes(
    nats_url: str, fleet: str, client: Client, join: Join
) -> None:
    async with Client.connect(nats_url, fleet) as gone:
        ids = [handle.id for handle in await gone.submit_many("count", [None] * 20)]
    ran: list[str] = []
    async with Coordinator.connect(nats_url, fleet):
        await join(counter(ran))

        async def all_have_results() -> bool:
            return not [one for one in ids if isinstance(await client.get(one), str)]

        await eventually(all_have_results, 10)
    assert sorted(ran) == sorted(ids)


async def test_one_key_is_one_task(client: Client, coordinator: Coordinator, join: Join) -> None:
    ran: list[str] = []
    await join(counter(ran))
    first, second = await asyncio.gather(
        client.submit("count", {"value": "a"}, key="order-17"),
        client.submit("count", {"value": "b"}, key="order-17"),
    )
    assert first.id == second.id
    values = [await first.result(5), await second.result(5)]
    # Once it is done, its result is what a later caller gets.
    third = await client.submit("count", {"value": "c"}, key="order-17")
    values.append(await third.result(5))
    assert len(set(values)) == 1
    assert ran == [first.id]
    other = await client.submit("count", key="order-18")
    await other.result(5)
    assert len(ran) == 2


async def test_one_key_from_two_clients(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, join: Join
) -> None:
    ran: list[str] = []
    async with Client.connect(nats_url, fleet) as other:
        handles = [await one.submit("count", key="k") for one in (client, other)]
        await join(counter(ran))
        results = await outcomes(handles, 5)
    assert results[0] == results[1]
    assert len(ran) == 1


async def test_a_full_queue_refuses_and_loses_nothing(nats_url: str, client: Client) -> None:
    ran: list[str] = []
    async with (
        own_fleet(nats_url, settings=TopologySettings(task_bytes=64 * 1024)) as fleet,
        Client.connect(nats_url, fleet) as small,
    ):
        stored = []

        async def fill() -> None:
            while True:
                stored.append(await small.submit("count", {"value": "x" * 1000}))

        with pytest.raises(QueueFull, match="try again later"):
            await fill()
        assert 10 < len(stored) < 100
        with pytest.raises(QueueFull):
            await small.submit_many("count", [{"value": "x" * 1000}] * 100)
        settings = TopologySettings(task_bytes=64 * 1024)
        async with (
            Coordinator.connect(nats_url, fleet, topology_settings=settings),
            counter(ran).connect(nats_url, fleet),
        ):
            results = await outcomes(stored, 10)
            assert {r.state for r in results} == {"completed"}
            # There is room again.
            assert await (await small.submit("count")).result(5)


async def test_what_cannot_be_submitted_is_refused_with_its_name(client: Client) -> None:
    for error, options in (
        (TaskRejected, {"priority": 3}),
        (TaskRejected, {"max_attempts": 0}),
        (TaskRejected, {"deadline": -1.0}),
        (TaskRejected, {"headers": {"Fleet-Ack": "forged"}}),
        (TaskRejected, {"headers": {"nats-msg-id": "forged"}}),
        (TaskRejected, {"headers": {"X": "a\r\nFleet-Ack: b"}}),
        (TaskRejected, {"session": "a\nFleet-Ack: b"}),
        (TaskRejected, {"deadline": float("inf")}),
        (InvalidSelector, {"select": "zone in ("}),
    ):
        with pytest.raises(error):
            await client.submit("count", **options)
    with pytest.raises(InvalidName, match="capability"):
        await client.submit("not a name")
    with pytest.raises(TaskNotFound):
        await client.get("nobody.1")


async def test_a_dead_task_is_retried(client: Client, coordinator: Coordinator, join: Join) -> None:
    agent = Agent("moody")
    good = False

    @agent.capability("try")
    async def attempt(value: str) -> str:
        if not good:
            raise ConnectionError("not today")
        return value

    await join(agent)
    handle = await client.submit("try", {"value": "kept"}, max_attempts=1)
    assert (await handle.outcome(5)).state == "failed"
    [dead] = [one async for one in client.dead.list()]
    assert (dead.task, dead.capability, dead.error.message) == (handle.id, "try", "not today")
    good = True
    again = await client.dead.retry(handle.id)
    assert await again.result(5) == "kept"
    assert [one async for one in client.dead.list()] == []


async def test_a_message_that_is_too_big_is_refused_and_the_connection_stays(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    """The payload goes by reference, headers cannot."""
    ran: list[str] = []
    await join(counter(ran))
    with pytest.raises(MessageTooBig, match="shorten the headers"):
        await client.submit("count", headers={"X-Big": "x" * 2_000_000})
    assert await (await client.submit("count")).result(5)
    assert client.bus.generation == 0


async def test_submit_waits_out_a_short_outage(join: Join) -> None:
    async with (
        NatsServer() as server,
        own_fleet(server.url) as fleet,
        Client.connect(server.url, fleet) as client,
    ):
        before = await client.submit("count")
        await server.stop()
        waiting = asyncio.create_task(client.submit("count"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await server.restart()
        after = await asyncio.wait_for(waiting, 15)
        ran: list[str] = []
        async with Coordinator.connect(server.url, fleet), counter(ran).connect(server.url, fleet):
            await outcomes([before, after], 10)
        assert sorted(ran) == sorted([before.id, after.id])


async def test_a_wait_that_was_given_up_leaves_nothing_behind(client: Client) -> None:
    handle = await client.submit("nobody-offers-this", {})
    waits = [asyncio.create_task(handle.outcome()) for _ in range(3)]
    await asyncio.sleep(0)
    waits[0].cancel()
    waits[2].cancel()
    await asyncio.wait((waits[0], waits[2]))
    assert handle._waiting is not None
    assert len(handle._waiting) == 1
    await client.cancel(handle.id)
    assert (await waits[1]).state == "canceled"
