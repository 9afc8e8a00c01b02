"""The view stays true while the registry is read, and when everybody is late at once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from bench.simulated.process import SimulatedFleet
from bus import Bus, Client, codec, connect, store
from bus.client import registry
from bus.subjects import Subjects
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.card import Capability, Card
from bus.wire.heartbeat import Heartbeat
from coordinator import Coordinator

CARD = Card("a1", "i1", slots=4, capabilities=(Capability("echo"),))
BUSY = Heartbeat("a1", "i1", seq=5, slots=4, window=4, running=3, next_in=5.0)


async def register(bus: Bus, card: Card = CARD) -> None:
    await store.publish(bus, bus.subjects.registry_keys + card.agent, codec.encode(card))


async def leave(bus: Bus, agent: str) -> None:
    block = h.encode([("KV-Operation", "DEL"), (h.TTL, "60s")])
    await store.publish(bus, bus.subjects.registry_keys + agent, b"", block)


async def test_a_heartbeat_whose_card_was_missed_brings_card_and_load(
    bus: Bus, coordinator: Coordinator
) -> None:
    await register(bus)
    view = coordinator.view
    await eventually(lambda: "a1" in view.agents)
    view.remove(view.agents["a1"])
    bus.send(bus.subjects.heartbeat("default", "a1"), codec.encode(BUSY))
    await eventually(lambda: "a1" in view.agents and view.agents["a1"].seq == 5)
    assert view.agents["a1"].room == 1


async def test_a_heartbeat_during_the_reading_counts_once_the_card_is_there(
    bus: Bus, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(bus)
    view, monitor = coordinator.view, coordinator.monitor
    await eventually(lambda: "a1" in view.agents)
    view.remove(view.agents["a1"])
    read = registry.entries

    async def late(bus: Bus) -> AsyncIterator[Inbound]:
        bus.send(bus.subjects.heartbeat("default", "a1"), codec.encode(BUSY))
        await eventually(lambda: "a1" in monitor._early)
        async for message in read(bus):
            yield message

    monkeypatch.setattr(registry, "entries", late)
    await monitor.read_registry()
    assert (view.agents["a1"].seq, view.agents["a1"].room) == (5, 1)


async def test_who_leaves_while_the_registry_is_read_stays_away(
    bus: Bus, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(bus)
    view, monitor = coordinator.view, coordinator.monitor
    await eventually(lambda: "a1" in view.agents)
    read = registry.entries

    async def stale(ours: Bus) -> AsyncIterator[Inbound]:
        messages = [message async for message in read(ours)]
        await leave(bus, "a1")
        await eventually(lambda: "a1" not in view.agents)
        for message in messages:
            yield message

    monkeypatch.setattr(registry, "entries", stale)
    await monitor.read_registry()
    assert "a1" not in view.agents
    # It may come again.
    await register(bus)
    await eventually(lambda: "a1" in view.agents)


async def test_who_dies_before_its_first_heartbeat_is_late_all_the_same(
    bus: Bus, coordinator: Coordinator
) -> None:
    await register(bus)  # with no lease that could end, and nobody behind it
    view = coordinator.view
    await eventually(lambda: "a1" in view.agents)
    await eventually(lambda: "a1" not in view.agents, 10)


async def test_what_the_server_tells_is_believed_right_after_a_reconnect(
    nats_url: str, fleet: str, bus: Bus, coordinator: Coordinator
) -> None:
    view, probes = coordinator.view, coordinator.monitor._probes
    async with connect(nats_url, fleet, name=Subjects.connection_name("agent", "a1", "i1")):
        await register(bus)
        await eventually(lambda: "a1" in view.agents)
        probes.calm_until = time.monotonic() + 60
        # Silence is not believed, and does not stand in the way of what comes next.
        probes.soon(view.agents["a1"], "late")
    await eventually(lambda: "a1" not in view.agents, 5)


async def test_many_that_are_late_at_once_are_asked_and_not_lost(
    nats_url: str, fleet: str, coordinator: Coordinator, client: Client
) -> None:
    simulated = SimulatedFleet(nats_url, fleet, 0, 400)
    await simulated.connect()
    try:
        simulated.join()
        view = coordinator.view
        await eventually(lambda: len(view) == 400 and all(entry.seq for entry in view))
        before = simulated.report().probes
        for entry in view:
            # As if nobody had been heard for long.
            entry.last_seen -= 100.0
            entry.due = 0
            coordinator.monitor._rota.put(entry, 0.0)
        await eventually(lambda: simulated.report().probes - before > 256)
        await eventually(lambda: all(entry.standing == "ready" for entry in view))
        assert (coordinator.monitor.lost, len(view)) == (0, 400)
    finally:
        await simulated.stop()
