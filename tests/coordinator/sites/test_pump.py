"""A pump between two streams of one server: what it moves, and what cannot stop it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bus import Bus, store
from bus.client import records
from bus.errors import BusError, DecodeError
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire import headers as h
from coordinator.sites.far import Far, LinkDown
from coordinator.sites.pump import RETRY, STUBBORN, Pump, longest
from coordinator.sites.session import ACK_EVERY, Broken, Outgoing, Route, Source

Convert = Callable[[Inbound, int], Outgoing]


def source(bus: Bus) -> Source:
    config = {"durable_name": "up", "ack_policy": "all", "ack_wait": 60 * 10**9}
    return Source(bus.subjects.events_stream, "up", config, ack_all=True)


def audited(bus: Bus) -> Convert:
    """Events become audit entries of the same name."""

    def convert(message: Inbound, sequence: int) -> Outgoing:
        name = message.subject.rsplit(".", 1)[1]
        block = h.encode([(h.MSG_ID, f"moved:{sequence}")])
        return Outgoing(bus.subjects.audit("pump", name), b"{}", block)

    return convert


@asynccontextmanager
async def running(bus: Bus, route: Route) -> AsyncIterator[Pump]:
    far = Far(bus, "$JS.API", bus.nc.new_inbox())
    await far.start()
    pump = Pump(bus, far, bus.nc.new_inbox(), route)
    task = asyncio.create_task(pump.run())
    try:
        yield pump
    finally:
        task.cancel()
        async with asyncio.timeout(3):
            await asyncio.gather(task, return_exceptions=True)
        await far.stop()


async def told(bus: Bus, *names: str) -> None:
    for name in names:
        await records.event(bus, "told", name)


async def moved(bus: Bus) -> list[str]:
    """In the order in which they are stored here."""
    pattern = bus.subjects.audit("pump", "*")
    found = store.scan(bus, bus.subjects.audit_stream, pattern)
    return [h.find(one.block, "Nats-Subject").rsplit(".", 1)[1] async for one in found]


async def acknowledged(bus: Bus) -> int:
    """The sequence up to which the consumer need not deliver again."""
    info = await bus.api(f"CONSUMER.INFO.{bus.subjects.events_stream}.up")
    return int(info["ack_floor"]["stream_seq"])


@pytest.mark.parametrize(
    ("problem", "seconds"),
    [
        (LinkDown("$JS.hub.API"), RETRY),
        (Broken("a delivery is missing"), RETRY),
        (TimeoutError(), RETRY),
        (BusError("payload in-me.1 was not stored: the bucket is full"), STUBBORN),
        (KeyError("a bug"), STUBBORN),
    ],
)
def test_it_waits_longer_for_what_does_not_pass_by_itself(
    problem: Exception, seconds: float
) -> None:
    assert longest(problem) == seconds


async def test_all_come_in_order_and_once_whatever_kicks_it(bus: Bus) -> None:
    names = [f"e{n}" for n in range(3 * ACK_EVERY + 5)]
    await told(bus, *names[:100])
    async with running(bus, Route(source(bus), audited(bus))) as pump:
        for start in range(100, len(names), 10):
            await told(bus, *names[start : start + 10])
            pump.kick()

        async def all_there() -> bool:
            return len(await moved(bus)) >= len(names)

        await eventually(all_there)
        assert await moved(bus) == names

        async def settled() -> bool:
            return await acknowledged(bus) == len(names)

        await eventually(settled)


async def test_acks_do_not_wait_for_a_pause(bus: Bus) -> None:
    """One message of a long row hangs: those before it must not come again."""
    hangs = asyncio.Event()

    async def before(_: Inbound) -> None:
        hangs.set()
        await asyncio.Event().wait()

    count = 2 * ACK_EVERY
    await told(bus, *(f"e{n}" for n in range(count)))
    block = h.encode([(h.PAYLOAD, "in-x.1")])
    await store.publish(bus, bus.subjects.event("told", "last"), b"{}", block)
    async with running(bus, Route(source(bus), audited(bus), before=before)):
        await eventually(hangs.is_set)

        async def acked() -> bool:
            return await acknowledged(bus) >= count - ACK_EVERY

        await eventually(acked)


async def test_what_cannot_be_stored_holds_up_nobody_and_its_end_is_told(bus: Bus) -> None:
    plain = audited(bus)

    def convert(message: Inbound, sequence: int) -> Outgoing:
        out = plain(message, sequence)
        if message.subject.endswith(".odd"):
            raise DecodeError("event", "is odd")
        if message.subject.endswith(".big"):
            return out._replace(data=b"x" * (bus.max_payload + 1))
        return out

    def instead(message: Inbound, _: Exception) -> Outgoing | None:
        if message.subject.endswith(".odd"):
            return None
        return Outgoing(bus.subjects.audit("pump", "instead"), b"{}", b"")

    await told(bus, "first", "odd", "big", "last")
    async with running(bus, Route(source(bus), convert, instead)) as pump:

        async def all_there() -> bool:
            return await moved(bus) == ["first", "instead", "last"]

        await eventually(all_there)
        assert pump.tally.unreadable == 2


async def test_a_bug_on_the_way_does_not_end_the_pump(bus: Bus) -> None:
    plain, failures = audited(bus), iter([KeyError("a bug")])

    def convert(message: Inbound, sequence: int) -> Outgoing:
        for failure in failures:
            raise failure
        return plain(message, sequence)

    await told(bus, "first")
    async with running(bus, Route(source(bus), convert)):

        async def there() -> bool:
            return await moved(bus) == ["first"]

        await eventually(there)


async def test_it_ends_even_if_its_cancellation_is_swallowed(bus: Bus) -> None:
    """As asyncio.wait_for does in Python 3.11, which nats-py uses for the object store."""
    asked, release = asyncio.Event(), asyncio.Event()

    async def before(_: Inbound) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            release.set()

    block = h.encode([(h.PAYLOAD, "in-x.1")])
    await store.publish(bus, bus.subjects.event("told", "first"), b"{}", block)
    async with running(bus, Route(source(bus), audited(bus), before=before)):
        await eventually(asked.is_set)
    assert release.is_set()
    assert not await moved(bus)
