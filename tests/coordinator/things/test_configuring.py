"""Things get their configuration as a retained message."""

from __future__ import annotations

from functools import partial

import pytest

from bus import Bus, Client
from bus.config.merge import digest
from bus.testing import eventually
from bus.wire.card import Card
from coordinator import Coordinator
from coordinator.things import configuring
from coordinator.things.configuring import AGAIN_MS, due
from coordinator.things.record import Record
from tests.coordinator.things.conftest import Make
from tests.coordinator.things.helpers import Beats, there
from tests.support.configuring import Desk
from tests.support.mqtt import Device


async def runs(device: Device, **values: object) -> None:
    """Wait until a device has a configuration."""
    await eventually(lambda: device.config == digest(values), 8)
    assert device.bodies("config")[-1]["values"] == values


async def test_set_before_and_after_the_device_connects(
    coordinator: Coordinator, client: Client, bus: Bus, device: Make
) -> None:
    beats = await Beats().listen(bus)
    desk = Desk(bus)
    await desk.put("global", {"rate": 5})
    await eventually(lambda: coordinator.parity.layers.stored)
    relay = await device("relay-1", labels={"kind": "lamp"})
    await runs(relay, rate=5)
    await desk.put("group.10-lamps", {"dim": True}, "kind=lamp")
    await runs(relay, rate=5, dim=True)
    await desk.put("instance.relay-1", {"rate": None})
    await runs(relay, dim=True)
    await eventually(lambda: beats.last.config == digest({"dim": True}))
    await eventually(lambda: coordinator.parity.count().parity == 1)
    # It has been sent each of them once.
    assert len(relay.bodies("config")) == 3
    # One that has forgotten it finds it as soon as it subscribes, before it says a word.
    await relay.cut()
    again = await device("relay-1", boot=relay.boot, announce=False)
    kind, body, retained = await eventually(lambda: again.got and again.got[0])
    assert (kind, body["values"], retained) == ("config", {"dim": True}, True)


@pytest.mark.usefixtures("coordinator")
async def test_one_that_is_away_finds_the_newest(client: Client, bus: Bus, device: Make) -> None:
    desk = Desk(bus)
    relay = await device("relay-1")
    await there(client, "relay-1")
    await desk.put("global", {"rate": 5})
    await runs(relay, rate=5)
    await relay.cut()
    await there(client)
    await desk.commit("8f1d3a0c52e94b7d1c6f0a9e3b5d7c2f4a6e8b10", fleet={"rate": 6})
    again = await device("relay-1", boot=relay.boot)
    await runs(again, rate=6)
    assert again.bodies("config")[-1]["commit"] == "8f1d3a0c52e9"


async def test_a_bucket_that_has_nothing_takes_nothing(
    coordinator: Coordinator, client: Client, bus: Bus, device: Make
) -> None:
    beats = await Beats().listen(bus)
    await eventually(lambda: coordinator.parity.known)
    relay = await device("relay-1", every=0)
    await there(client, "relay-1")
    relay.config = "6f2c67eda390bcaa"  # from a fleet that has lost its bucket
    relay.state()
    await eventually(lambda: beats.last.config == relay.config)
    relay.state()
    await eventually(lambda: len(beats.heard) >= 3)
    assert not relay.bodies("config")


def _has_heap(beats: Beats, heap: int) -> bool:
    return beats.last.heap == heap


@pytest.mark.usefixtures("coordinator")
async def test_a_configuration_that_is_too_big_is_not_sent(
    client: Client,
    bus: Bus,
    device: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(configuring, "AGAIN_MS", -1)
    beats = await Beats().listen(bus)
    relay = await device("relay-1", every=0)
    await there(client, "relay-1")
    await Desk(bus).put("global", {"text": "x" * 200_000})
    await eventually(lambda: "gets no configuration" in caplog.text)
    for number in range(1, 4):
        relay.state(heap=number)
        await eventually(partial(_has_heap, beats, number))
    relay.publish("bye", {"boot": relay.boot})
    await there(client)
    assert not relay.bodies("config")
    assert caplog.text.count("gets no configuration") == 1


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, True),
        ({"config": "new"}, False),
        ({"config": "old"}, True),
        ({"rejected": "new"}, False),
        ({"told": "new", "told_ms": 1_000_000 - AGAIN_MS}, False),
        ({"told": "new", "told_ms": 1_000_000 - AGAIN_MS - 1}, True),
        ({"told": "old", "told_ms": 999_000}, True),
    ],
)
def test_when_it_is_sent(record: dict[str, object], expected: bool) -> None:

    known = Record(boot="b", online=True, card=Card("relay-1", "b"), **record)  # type: ignore[arg-type]  # of the table
    assert due(known, "new", 1_000_000) is expected


def test_one_that_never_announced_itself_gets_none() -> None:
    assert not due(Record(), "new", 0)
