"""Simulated agents: to a coordinator, a client and a server they are agents like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bench.simulated import crew
from bench.simulated.process import SimulatedFleet
from bus import Bus, Client, policy
from bus.client import registry
from bus.server import NatsServer
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from bus.wire import headers as h
from coordinator import Coordinator, CoordinatorSettings
from tests.support.simulated import all_back, running

COUNT = 40


@pytest.fixture
async def simulated(
    nats_url: str, fleet: str, coordinator: Coordinator
) -> AsyncIterator[SimulatedFleet]:
    async with running(nats_url, fleet, COUNT) as made:
        await eventually(lambda: len(coordinator.view) == COUNT)
        yield made


async def test_a_coordinator_knows_them_all_by_their_cards_and_heartbeats(
    simulated: SimulatedFleet, coordinator: Coordinator, bus: Bus
) -> None:
    await eventually(lambda: all(entry.seq for entry in coordinator.view))
    assert {entry.id for entry in coordinator.view} == {crew.name(n) for n in range(COUNT)}
    assert sum(entry.room for entry in coordinator.view) == COUNT * crew.SLOTS
    found = {card.agent async for card in registry.cards(bus)}
    assert found == {crew.name(n) for n in range(COUNT)}
    assert coordinator.bus.dropped == 0


async def test_tasks_and_calls_are_answered(simulated: SimulatedFleet, client: Client) -> None:
    handles = await client.submit_many("echo", [b"%d" % number for number in range(200)])
    for number, handle in enumerate(handles):
        assert await handle.result(timeout=20) == b"%d" % number
    assert await client.call("echo", b"now") == b"now"
    await eventually(lambda: simulated.report().tasks == 201)


async def test_each_evaluates_the_selector_of_a_command(
    simulated: SimulatedFleet, client: Client
) -> None:
    sent = client.broadcast("ping", select="env=prod,zone in (z0,z1)")
    meant = {
        crew.name(number)
        for number in range(COUNT)
        if crew.card(number).labels["env"] == "prod"
        and crew.card(number).labels["zone"] in ("z0", "z1")
    }
    assert {reply.agent async for reply in sent if reply.state == "ok"} == meant
    assert (sent.tally.outstanding, sent.tally.unexpected) == ([], set())
    unknown = client.broadcast("dance", select=f"agent={crew.name(3)}")
    assert [reply.state async for reply in unknown] == ["rejected"]


async def test_a_probe_is_answered_with_the_incarnation(
    simulated: SimulatedFleet, bus: Bus, coordinator: Coordinator
) -> None:
    name = crew.name(7)
    question = h.encode([(h.PROBE, "test")])
    answer = await bus.request(bus.subjects.dispatch(name), block=question)
    assert answer.headers[h.INCARNATION] == coordinator.view.agents[name].incarnation
    assert simulated.report().probes == 1


async def test_heartbeats_follow_the_policy(nats_url: str, fleet: str, bus: Bus) -> None:
    settings = CoordinatorSettings(max_rate=20.0)
    async with (
        Coordinator.connect(nats_url, fleet, settings=settings) as coordinator,
        running(nats_url, fleet, COUNT) as simulated,
    ):

        async def told() -> bool:
            return 1.5 < (await policy.read(bus)).interval <= COUNT / 20

        await eventually(told)
        before = simulated.report().beats
        simulated.settle(0.2)
        await eventually(lambda: simulated.report().beats - before >= COUNT)
        # Promised is what the policy says, and kept: all stay ready.
        promised = [entry.next_in for entry in coordinator.view]
        assert max(promised) <= COUNT / 20 * 1.2
        assert {entry.standing for entry in coordinator.view} == {"ready"}


@pytest.mark.fault
async def test_they_come_back_after_a_restart_of_the_server() -> None:
    async with (
        NatsServer() as server,
        own_fleet(server.url) as fleet,
        Coordinator.connect(server.url, fleet) as coordinator,
        running(server.url, fleet, COUNT) as simulated,
    ):
        await eventually(lambda: len(coordinator.view) == COUNT)
        joined_at = simulated.report().all_at
        marks = {entry.id: entry.seq for entry in coordinator.view}
        await server.restart()
        await eventually(all_back(simulated, joined_at), timeout=20)
        await eventually(
            lambda: all(entry.seq > marks[entry.id] for entry in coordinator.view), timeout=20
        )
        report = simulated.report()
        assert (report.called_dead, coordinator.monitor.lost) == (0, 0)
        assert report.first_at > joined_at
        async with Client.connect(server.url, fleet) as client:
            handle = await client.submit("echo", b"again")
            assert await handle.result(timeout=20) == b"again"
