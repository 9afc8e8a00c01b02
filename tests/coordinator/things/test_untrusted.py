"""Whatever a device sends, nothing crashes, and nobody else's task is touched."""

from __future__ import annotations

import asyncio
import json
import logging
import random

import pytest

from bus import Bus, Client
from bus.testing import eventually
from bus.wire.thing import MAX_BODY, UP
from coordinator import Coordinator
from tests.coordinator.things.conftest import Make
from tests.coordinator.things.helpers import count, there
from tests.support.mqtt import Device, echo

GARBAGE = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"boot":5}',
    b'{"boot":"a b"}',
    b'{"boot":"x","tasks":7}',
    b'{"boot":"x","every":0.001}',
    b'{"boot":"x","slots":100000}',
    b'{"boot":"x","labels":{"a":{}}}',
    b'{"boot":"x","capabilities":[{"name":"a.b"}]}',
    b'{"boot":"x","capabilities":[{"name":"a"},{"name":"a"}]}',
    b'{"boot":"x","site":"*"}',
    b'{"boot":"x","commands":["a b"]}',
    b'{"boot":"x","seq":1,"values":{"a.b":1}}',
    b'{"boot":"x","seq":1,"values":{}}',
    b'{"boot":"x","seq":-1,"values":{"a":1}}',
    b'{"task":"me.1","state":"submitted"}',
    b'{"task":5,"state":"completed"}',
    b'{"task":"me.1","state":"completed","output_base64":"%%%"}',
    b'{"task":"me.1","state":"completed","content_type":"a\\r\\nFleet-Agent: x"}',
    b'{"task":"me.1","seq":1,"fraction":1e308}',
    b'{"command":"x","state":"maybe"}',
    b'{"command":"../x","state":"ok"}',
    b"[" * 10_000,
    b'{"boot":"' + b"x" * 20_000 + b'"}',
]


async def works(client: Client, relay: Device) -> None:
    """The fleet goes on as if nothing had been."""
    assert await (await client.submit("blink", 7)).result(timeout=8) == 7


@pytest.mark.parametrize("kind", sorted(UP))
async def test_garbage_is_dropped_and_counted(
    coordinator: Coordinator, client: Client, bus: Bus, device: Make, kind: str
) -> None:
    good = await device("relay-1", handle=echo)
    bad = await device("relay-2", capabilities=("other",), announce=False)
    await there(client, "relay-1")
    await eventually(lambda: bad.subscribed)
    for body in GARBAGE:
        bad.publish(kind, body)
    # The rest of them are good for some kind or other.
    await eventually(lambda: coordinator.things.inbox.dropped >= 15)
    await works(client, good)
    assert {card.agent for card in await client.agents()} <= {"relay-1", "relay-2"}


async def test_random_bytes_and_mangled_bodies(
    coordinator: Coordinator, client: Client, bus: Bus, device: Make
) -> None:
    rng = random.Random(7)
    good = await device("relay-1", handle=echo)
    bad = [await device(f"bad-{n}", capabilities=("other",)) for n in range(4)]
    await there(client, "relay-1", *(one.thing for one in bad))
    bodies = [
        json.dumps({"boot": "b", "tasks": ["me.1"], "every": 3}).encode(),
        json.dumps({"task": "me.1", "state": "completed", "output": 1, "run_ms": 3}).encode(),
        json.dumps({"boot": "b", "seq": 1, "values": {"t": 1}}).encode(),
        json.dumps({"command": "c", "state": "ok", "output": {"a": [1]}}).encode(),
    ]
    for number in range(600):
        body = bytearray(rng.choice(bodies))
        for _ in range(rng.randrange(4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        some = bytes(body[: rng.randrange(len(body))]) if rng.random() < 0.2 else bytes(body)
        bad[number % 4].publish(rng.choice([*UP]), some)

    async def dealt_with() -> bool:
        return await count(bus, bus.subjects.things_stream) == 0

    await asyncio.gather(*(one.quiet() for one in [*bad, good]))
    await eventually(dealt_with, 10)
    await works(client, good)


async def test_a_body_that_is_too_big_is_dropped(
    coordinator: Coordinator, client: Client, bus: Bus, device: Make
) -> None:
    relay = await device("relay-1", handle=echo)
    await there(client, "relay-1")
    for kind in UP:
        relay.publish(kind, b'{"boot":"%b"}' % (b"x" * MAX_BODY[kind]))
    await eventually(lambda: coordinator.things.inbox.dropped >= len(UP))
    await works(client, relay)


async def test_nobody_ends_a_task_that_it_was_not_given(
    coordinator: Coordinator, client: Client, bus: Bus, device: Make
) -> None:
    honest = await device("relay-1")
    rogue = await device("rogue", capabilities=("other",))
    await there(client, "relay-1", "rogue")
    handle = await client.submit("blink", {})
    await eventually(lambda: handle.id in honest.held)
    for state in ("completed", "failed", "rejected", "canceled"):
        rogue.publish("result", {"task": handle.id, "state": state, "output": "mine"})
        rogue.publish("result", {"task": handle.id, "state": state, "retry": True})
    rogue.publish("progress", {"task": handle.id, "seq": 1})
    rogue.publish("state", {"boot": rogue.boot, "tasks": [handle.id]}, 0)
    await eventually(lambda: coordinator.things.inbox.dropped >= 9)
    assert not handle.finished.done()
    assert await client.get(handle.id) == "submitted"
    # It is told to forget it, so that an honest one that is mistaken does not try for ever.
    await eventually(lambda: rogue.bodies("done"))
    honest.finish(handle.id, output="its own")
    assert await handle.result(timeout=5) == "its own"


async def test_what_a_device_claims_is_bounded(
    coordinator: Coordinator, client: Client, device: Make
) -> None:
    relay = await device("relay-1", handle=echo)
    await there(client, "relay-1")
    for number in range(12):
        names = [{"name": f"c{number}-{n}"} for n in range(10)]
        relay.publish("announce", {"boot": relay.boot, "capabilities": names})
    await eventually(lambda: coordinator.things.inbox.dropped >= 6)
    offered = {one.name for card in await client.agents() for one in card.capabilities}
    assert len(offered) == 10
    relay.publish("announce", {"boot": relay.boot, "capabilities": [{"name": "blink"}]})
    await works(client, relay)


async def test_one_that_floods_does_not_drown_the_others(
    coordinator: Coordinator,
    client: Client,
    bus: Bus,
    device: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = await device("relay-1", handle=echo)
    mad = await device("mad", capabilities=("other",), announce=False)
    await there(client, "relay-1")
    with caplog.at_level(logging.WARNING):
        for number in range(3000):
            mad.publish("telemetry", {"boot": "b", "seq": number, "values": {"t": 1}}, 0)
        await works(client, good)
        await eventually(lambda: coordinator.things.inbox.dropped >= 2000, 10)
        await works(client, good)
    lines = [one for one in caplog.messages if "thing.mad." in one]
    assert len(lines) == 1, "once a minute"
