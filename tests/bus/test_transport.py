"""Our way into nats-py: what it leans on is there, and nothing that arrives can break it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import re
from collections.abc import AsyncIterator

import pytest
from nats import errors as nats_errors
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from bus import Bus, connect, store, topology
from bus.errors import ConnectError, Disconnected
from bus.parser import MessageParser
from bus.server import NatsServer
from bus.testing import eventually
from bus.transport import Inbound, Transport
from bus.wire import headers as h

# what we lean on


def test_the_version_that_this_was_written_for() -> None:
    assert importlib.metadata.version("nats-py").startswith("2.16.")


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (NatsClient, "_process_msg", ["self", "sid", "subject", "reply", "data", "headers"]),
        (NatsClient, "_process_err", ["self", "err_msg"]),
        (NatsClient, "_process_op_err", ["self", "e"]),
        (NatsClient, "_process_pong", ["self"]),
        (Parser, "parse", ["self", "data"]),
        (Parser, "reset", ["self"]),
    ],
)
def test_methods_that_are_overridden_or_called(
    owner: type, name: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters
    if name != "reset":
        assert inspect.iscoroutinefunction(getattr(owner, name))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_sid", int),
        ("_status", int),
        ("_pending", list),
        ("_pongs", list),
        ("_pending_data_size", int),
        ("_max_pending_size", int),
        ("_flush_queue", asyncio.Queue),
        ("_ps", MessageParser),
        ("stats", dict),
        ("options", dict),
    ],
)
async def test_attributes_that_are_used(bus: Bus, name: str, kind: type) -> None:
    assert isinstance(getattr(bus.nc, name), kind)


async def test_the_writer_that_is_written_to(bus: Bus) -> None:
    writer = getattr(bus.nc._transport, "_io_writer", None)
    assert isinstance(writer, asyncio.StreamWriter)
    assert writer.transport.get_write_buffer_size() == 0


async def test_the_id_of_the_next_subscription_is_known_before(bus: Bus) -> None:
    before = bus.nc._sid
    subscription = await bus.listen("a", lambda message: None)
    assert isinstance(subscription, Subscription)
    assert subscription._id == before + 1


def test_connect_takes_what_the_bus_gives_it() -> None:
    known = set(inspect.signature(NatsClient.connect).parameters)
    assert known >= {
        "servers",
        "name",
        "connect_timeout",
        "ping_interval",
        "max_reconnect_attempts",
        "reconnect_time_wait",
        "pending_size",
        "error_cb",
        "disconnected_cb",
        "reconnected_cb",
        "reconnect_to_server_handler",
        "user_credentials",
        "nkeys_seed",
        "user",
        "password",
        "token",
        "tls",
    }


# listening and sending


async def test_messages_arrive_whole_and_in_order(bus: Bus) -> None:
    got: list[Inbound] = []
    await bus.listen("t.*", got.append)
    block = h.encode([("A", "1")])
    bus.send("t.plain", b"one")
    bus.send("t.reply", b"two", "answer.here")
    bus.send("t.headers", b"three", block=block)
    bus.send("t.both", b"four", "answer.here", block)
    bus.send("t.empty")
    bus.send("t.big", b"x" * 300_000)
    await eventually(lambda: len(got) == 6)
    assert [(m.subject, m.reply, m.data[:5], m.block) for m in got] == [
        ("t.plain", "", b"one", b""),
        ("t.reply", "answer.here", b"two", b""),
        ("t.headers", "", b"three", block),
        ("t.both", "answer.here", b"four", block),
        ("t.empty", "", b"", b""),
        ("t.big", "", b"xxxxx", b""),
    ]
    assert len(got[5].data) == 300_000
    assert got[0].headers == {}
    assert got[2].headers == {"A": "1"}


async def test_what_one_turn_sends_is_sent_by_itself(bus: Bus) -> None:
    got: list[bytes] = []
    await bus.listen("t", lambda message: got.append(message.data))
    for number in range(10_000):
        bus.send("t", b"%d" % number)
    assert bus.nc.unsent > 0
    await eventually(lambda: len(got) == 10_000)
    assert got == [b"%d" % number for number in range(10_000)]
    assert bus.nc.unsent == 0


async def test_unlisten_ends_it(bus: Bus) -> None:
    got: list[bytes] = []
    subscription = await bus.listen("t", lambda message: got.append(message.data))
    other: list[bytes] = []
    await bus.listen("t", lambda message: other.append(message.data))
    bus.send("t", b"1")
    await eventually(lambda: (got, other) == ([b"1"], [b"1"]))
    await bus.unlisten(subscription)
    bus.send("t", b"2")
    await eventually(lambda: other == [b"1", b"2"])
    assert got == [b"1"]
    assert subscription._id not in bus.nc._direct


async def test_a_subscription_that_could_not_be_made_leaves_no_handler(bus: Bus) -> None:
    before = dict(bus.nc._direct)
    with pytest.raises(nats_errors.BadSubjectError):
        await bus.listen("not a subject", lambda message: None)
    assert bus.nc._direct == before


async def test_a_flush_that_was_given_up_leaves_the_connection_hearing(bus: Bus) -> None:
    flush = asyncio.create_task(bus.flush())
    await asyncio.sleep(0)
    flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)
    # The first PONG is that of the flush which nobody waits for any more.
    await bus.flush()
    assert b"api" in (await bus.request("$JS.API.INFO", timeout=2.0)).data
    assert bus.nc.stats["reconnects"] == 0


async def test_a_queue_group_shares(nats_url: str, fleet: str, bus: Bus) -> None:
    async with connect(nats_url, fleet) as second:
        first: list[bytes] = []
        other: list[bytes] = []
        await bus.listen("t", lambda message: first.append(message.data), "group")
        await second.listen("t", lambda message: other.append(message.data), "group")
        await second.flush()
        for number in range(200):
            bus.send("t", b"%d" % number)
        await eventually(lambda: len(first) + len(other) == 200)
        assert first
        assert other


async def test_nats_pys_own_subscriptions_work_beside(bus: Bus) -> None:
    subscription = await bus.nc.subscribe("t")
    bus.send("t", b"1", block=h.encode([("A", "b")]))
    message = await subscription.next_msg(timeout=5)
    assert message.data == b"1"
    assert message.headers == {"A": "b"}


async def test_status_of_a_reply_that_nobody_sends(bus: Bus) -> None:
    message = await bus.request("nobody.is.here")
    assert message.status == "503"
    assert message.headers["Status"] == "503"


async def test_a_closed_connection_refuses(nats_url: str, fleet: str) -> None:
    async with connect(nats_url, fleet) as bus:
        pass
    with pytest.raises(Disconnected, match="the connection is closed"):
        bus.send("t", b"")


# without a server


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    """A server of this test's own, to be stopped and started."""
    async with NatsServer() as running:
        yield running


async def test_what_is_sent_while_disconnected_arrives_after_the_reconnect(
    server: NatsServer,
) -> None:
    async with connect(server.url, "f", reconnect_max=0.1) as bus:
        await topology.ensure(bus)
        await server.kill()
        await eventually(lambda: not bus.connected)
        for number in range(100):
            bus.send(bus.subjects.result(f"me.{number}"), b"%d" % number)
        assert bus.nc.unsent > 0
        await server.restart()
        await eventually(lambda: bus.connected)
        await bus.flush()

        async def stored() -> list[bytes]:
            return [m.data async for m in store.scan(bus, "RESULTS_f", bus.subjects.results)]

        async def there() -> bool:
            return len(await stored()) == 100

        # The server has read them by now, and stores them in its own time.
        await eventually(there)
        assert await stored() == [b"%d" % number for number in range(100)]


async def test_a_full_buffer_raises_and_keeps_what_it_has(server: NatsServer) -> None:
    async with connect(server.url, "f", buffer_bytes=10_000, reconnect_max=0.1) as bus:
        await topology.ensure(bus)
        await server.kill()
        await eventually(lambda: not bus.connected)
        taken = 0
        refused = ""
        while not refused:
            try:
                bus.send(bus.subjects.result(f"me.{taken}"), b"x" * 100)
            except Disconnected as problem:
                refused = str(problem)
            else:
                taken += 1
        assert re.search(r"is not connected and \d+ bytes wait already", refused)
        assert 50 < taken < 100
        await server.restart()
        await eventually(lambda: bus.connected)
        await bus.flush()
        stored = [m async for m in store.scan(bus, "RESULTS_f", bus.subjects.results)]
        assert len(stored) == taken


async def test_closing_with_unsent_bytes_raises(server: NatsServer) -> None:
    bus = connect(server.url, "f")
    await bus._connect()
    await server.kill()
    await eventually(lambda: not bus.connected)
    bus.send("t", b"precious")
    with pytest.raises(Disconnected, match=r"closed while disconnected: \d+ bytes were never"):
        await bus.close()
    await bus.close()


async def test_closing_without_unsent_bytes_is_quiet(server: NatsServer) -> None:
    async with connect(server.url, "f") as bus:
        await server.kill()
        await eventually(lambda: not bus.connected)


def test_a_transport_does_no_io_before_it_connects() -> None:
    assert Transport(lambda subject, reason: None).unsent == 0


async def test_tls_is_not_given_up_for_a_server_without_it(nats_url: str) -> None:
    """Credentials would go over the wire in clear."""
    with pytest.raises(ConnectError, match="does not speak TLS"):
        async with connect(nats_url.replace("nats://", "tls://")):
            pass
