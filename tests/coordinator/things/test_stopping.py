"""A coordinator's share of the bridge ends, with and without a broker that answers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bus import Client
from bus.server import NatsServer
from bus.testing import eventually, fresh_fleet
from bus.testing import fleet as own_fleet
from bus.transport import Inbound
from bus.wire import headers as h
from coordinator import Coordinator
from coordinator.things.bridge import Things
from tests.coordinator.things.conftest import Make
from tests.coordinator.things.helpers import there
from tests.support.mqtt import echo

ACK = "$JS.ACK.TASKS_dev.blink-p1.1.5.5.1795235922388279528.0"


def at_work(things: Things) -> int:
    """What it has begun and not ended."""
    return sum(len(one.background) for one in (things.inbox, things.tasks))


@contextmanager
def stopped(server: NatsServer) -> Iterator[None]:
    """A server that is there and does nothing."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_what_was_taken_is_finished(
    nats_url: str, fleet: str, client: Client, device: Make
) -> None:
    async with Coordinator.connect(nats_url, fleet) as first:
        relay = await device("relay-1", handle=echo, slots=8)
        await there(client, "relay-1")
        async with Coordinator.connect(nats_url, fleet):
            await eventually(lambda: len(first.peers.all) == 2)
            handles = await client.submit_many("blink", list(range(40)))
            await eventually(lambda: relay.bodies("task"))
            begun = time.monotonic()
            word = f"fleet.{fleet}.thing.relay-1.up.state"
            reply = f"$JS.ACK.THINGS_{fleet}.bridge.1.90000.1.{time.time_ns()}.0"
            body = b'{"boot":"%b"}' % relay.boot.encode()
            first.things.inbox.on_message(Inbound(word, reply, body, b""))
            await first.things.stop()
            assert at_work(first.things) == 0
            assert [await one.result(timeout=8) for one in handles] == list(range(40))
            assert {(await one.outcome()).attempt for one in handles} == {1}
            print(f"\n40 tasks {time.monotonic() - begun:.2f} s after one of two stopped")
            # What it was told last has not made it listen again.
            sent = first.things.tasks.sent
            more = await client.submit_many("blink", list(range(40)))
            assert [await one.result(timeout=8) for one in more] == list(range(40))
            assert first.things.tasks.sent == sent


async def test_a_broker_that_does_not_answer_is_not_waited_for() -> None:
    name = fresh_fleet()
    async with (
        NatsServer() as server,
        own_fleet(server.url, name),
        Coordinator.connect(server.url, name) as coordinator,
    ):
        things = coordinator.things
        with stopped(server):
            word = f"fleet.{name}.thing.relay-1.up.state"
            reply = ACK.replace("TASKS", "THINGS")
            things.inbox.on_message(Inbound(word, reply, b'{"boot":"b"}', b""))
            block = h.encode([(h.TASK, "me.1"), (h.CAPABILITY, "blink"), (h.ACK, ACK)])
            things.tasks.on_dispatch(Inbound(f"fleet.{name}.dispatch.relay-1", "", b"1", block))
            assert at_work(things) == 2
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await things.stop()
            assert at_work(things) == 0
            assert time.monotonic() - begun < 2
