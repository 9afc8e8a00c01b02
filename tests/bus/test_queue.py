"""Counts of what waits and what ended, from the broker."""

from __future__ import annotations

import pytest

from bus import Bus, Client, connect, consumers, store
from bus.client.queue import Lane, lanes, recent, waiting
from bus.errors import TopologyMissing
from bus.testing import eventually, fresh_fleet
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result


async def test_lanes_count_what_waits_with_and_without_a_consumer(bus: Bus, client: Client) -> None:
    assert await lanes(bus) == []
    await consumers.ensure_lanes(bus, "served-one", 10.0)
    await client.submit_many("served-one", range(3), priority=0)
    await client.submit("served-one", priority=2)
    await client.submit_many("orphan", range(2))
    assert await lanes(bus) == [
        Lane("orphan", 1, waiting=2, served=False),
        Lane("served-one", 0, waiting=3),
        Lane("served-one", 1),
        Lane("served-one", 2, waiting=1),
    ]


async def test_lanes_count_what_is_held(bus: Bus, client: Client) -> None:
    await consumers.ensure_lanes(bus, "echo", 10.0)
    await client.submit_many("echo", range(3))
    next_one = f"$JS.API.CONSUMER.MSG.NEXT.{bus.subjects.tasks_stream}.echo-p1"
    taken: list[Inbound] = []
    inbox = bus.nc.new_inbox()
    await bus.listen(inbox, taken.append)
    bus.send(next_one, b"", inbox)
    await eventually(lambda: taken)
    assert Lane("echo", 1, waiting=2, held=1) in await lanes(bus)
    bus.send(taken[0].reply, b"+ACK")
    await bus.flush()
    assert Lane("echo", 1, waiting=2) in await lanes(bus)


async def test_waiting_names_the_tasks(bus: Bus, client: Client) -> None:
    first = await client.submit("echo", priority=0)
    second = await client.submit("other")
    assert {one async for one in waiting(bus)} == {("echo", 0, first.id), ("other", 1, second.id)}
    assert [one async for one in waiting(bus, "other")] == [("other", 1, second.id)]


async def test_recent_passes_over_markers_of_attempts(bus: Bus) -> None:
    assert await recent(bus, 5) == []
    subjects = bus.subjects
    for number in range(4):
        result = Result(f"me.{number}", "completed", b"%d" % number)
        await store.publish(
            bus, subjects.result(result.task), b"%d" % number, results.encode(result)
        )
        for _ in range(10):
            marker = h.encode([(h.ATTEMPT, "1")])
            await store.publish(bus, subjects.attempt(f"me.{number}"), b"", marker)
    found = await recent(bus, 2)
    assert [one.result.task for one in found] == ["me.3", "me.2"]
    assert found[0].at_ms >= found[1].at_ms > 1e12
    assert len(await recent(bus, 100)) == 4


async def test_recent_drops_what_is_no_result(bus: Bus) -> None:
    await store.publish(bus, bus.subjects.result("me.1"), b"x")
    assert await recent(bus, 5) == []
    assert bus.dropped == 1


async def test_a_fleet_that_is_not_there(nats_url: str) -> None:
    async with connect(nats_url, fresh_fleet()) as nowhere:
        with pytest.raises(TopologyMissing):
            await lanes(nowhere)
        with pytest.raises(TopologyMissing):
            await recent(nowhere, 1)
