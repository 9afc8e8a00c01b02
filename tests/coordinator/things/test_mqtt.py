"""Holds the server to what ``coordinator.things.mqtt`` relies on, with a real MQTT client.

Should one of these fail with a new nats-server, that module is the place to mend.
"""

from __future__ import annotations

from bus import Bus
from bus.testing import eventually
from bus.wire.thing import ThingConfig, ThingDone
from coordinator.things import mqtt
from tests.coordinator.things.conftest import Make


async def test_a_message_reaches_a_device_that_is_there(bus: Bus, device: Make) -> None:
    relay = await device("relay-1", every=0, announce=False)
    await eventually(lambda: relay.subscribed)
    assert await mqtt.send(bus, "relay-1", "done", ThingDone("me.1"))
    await eventually(lambda: relay.got == [("done", {"task": "me.1"}, False)])
    assert relay.qualities == [1]


async def test_it_is_kept_for_one_that_is_away(bus: Bus, device: Make) -> None:
    relay = await device("relay-1", every=0, announce=False)
    await eventually(lambda: relay.subscribed)
    await relay.cut()
    for number in range(3):
        assert await mqtt.send(bus, "relay-1", "done", ThingDone(f"me.{number}"))
    again = await device("relay-1", every=0, announce=False)
    await eventually(lambda: len(again.got) == 3)
    assert [one["task"] for one in again.bodies("done")] == ["me.0", "me.1", "me.2"]
    assert again.qualities == [1, 1, 1]


async def test_what_is_kept_can_be_taken_back(bus: Bus, device: Make) -> None:
    relay = await device("relay-1", every=0, announce=False)
    other = await device("relay-2", every=0, announce=False)
    await eventually(lambda: relay.subscribed and other.subscribed)
    await relay.cut()
    await other.cut()
    for thing in ("relay-1", "relay-2"):
        await mqtt.send(bus, thing, "done", ThingDone("me.1"))
    await mqtt.forget(bus, "relay-1")
    await mqtt.send(bus, "relay-1", "done", ThingDone("me.2"))
    again = await device("relay-1", every=0, announce=False)
    await eventually(lambda: again.got)
    assert [one["task"] for one in again.bodies("done")] == ["me.2"]
    another = await device("relay-2", every=0, announce=False)
    await eventually(lambda: [one["task"] for one in another.bodies("done")] == ["me.1"])


async def test_what_is_retained_is_found_and_replaced(bus: Bus, device: Make) -> None:
    assert await mqtt.retain(bus, "relay-1", "config", ThingConfig("one", {"rate": 1}))
    relay = await device("relay-1", every=0, announce=False)
    await eventually(lambda: [(one[1]["hash"], one[2]) for one in relay.got] == [("one", True)])
    assert await mqtt.retain(bus, "relay-1", "config", ThingConfig("two", {"rate": 2}))
    await eventually(lambda: relay.got[-1][1]["hash"] == "two")
    assert relay.got[-1][2] is False
    await relay.cut()
    again = await device("relay-1", every=0, announce=False)
    await eventually(lambda: ("config", {"hash": "two", "values": {"rate": 2}}, True) in again.got)
    assert "one" not in [one["hash"] for one in again.bodies("config")]


async def test_a_repeated_packet_is_two_messages(bus: Bus, device: Make) -> None:
    """Which is why everything that a thing says may be said twice."""
    heard: list[bytes] = []
    await bus.listen(bus.subjects.things_up, lambda message: heard.append(message.data))
    await bus.flush()
    relay = await device("relay-1", every=0, announce=False)
    await eventually(lambda: relay.subscribed)
    relay.publish_twice("gone", {"boot": "x"})
    await eventually(lambda: len(heard) == 2)
    assert heard[0] == heard[1]
