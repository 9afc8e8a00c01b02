"""Questions to a stream that need no consumer."""

from __future__ import annotations

from bus import Bus, store, topology
from bus.topology import MIB, TopologySettings
from bus.wire.result import Result


async def test_a_scan_goes_on_where_the_server_cuts_a_page_short(bus: Bus) -> None:
    subjects = bus.subjects
    await topology.ensure(bus, TopologySettings(result_bytes=256 * MIB))
    # One page may hold 512 messages, and the server gives out some 64 MiB at a time.
    body, count = b"x" * 1_000_000, 72
    for number in range(count):
        await store.publish(bus, subjects.result(f"me.{number}"), body)
    sizes = [
        len(message.data)
        async for message in store.scan(bus, subjects.results_stream, subjects.results)
    ]
    assert sizes == [len(body)] * count


async def test_a_scan_of_several_pages_and_of_nothing(bus: Bus) -> None:
    subjects = bus.subjects
    found = store.scan(bus, subjects.results_stream, subjects.results, batch=3)
    assert [message async for message in found] == []
    for number in range(7):
        await store.publish(bus, subjects.result(f"me.{number}"), str(number).encode())
    for batch in (1, 3, 7, 8):
        found = store.scan(bus, subjects.results_stream, subjects.results, batch=batch)
        assert [message.data async for message in found] == [b"%d" % n for n in range(7)]


async def test_the_first_result_of_a_task_counts(bus: Bus) -> None:
    assert await store.conclude(bus, Result("me.1", "completed", b"1"))
    assert not await store.conclude(bus, Result("me.1", "canceled"))
    stored = await store.last(bus, bus.subjects.results_stream, bus.subjects.result("me.1"))
    assert stored is not None
    assert stored.data == b"1"
