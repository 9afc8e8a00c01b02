"""Simulated agents and their configuration: they follow it as ``agent_runtime`` does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bench.simulated import crew
from bench.simulated.process import SimulatedFleet
from bus import Bus, connect
from bus.client import config, drift
from bus.server import NatsServer
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from bus.wire.config import ConfigHead, ConfigLayer
from coordinator import Coordinator
from tests.support.configuring import Desk
from tests.support.simulated import all_back, running

COUNT = 20
COMMIT = "c" * 40


@pytest.fixture
async def desk(bus: Bus) -> Desk:
    return await Desk(bus).start()


@pytest.fixture
async def simulated(
    nats_url: str, fleet: str, coordinator: Coordinator, desk: Desk
) -> AsyncIterator[SimulatedFleet]:
    async with running(nats_url, fleet, COUNT) as made:
        yield made


async def test_each_reports_what_the_layers_make_of_it(
    simulated: SimulatedFleet, desk: Desk
) -> None:
    await desk.commit(COMMIT, **{"global": {"a": 1}, "fleet": {"b": 2}})
    await desk.put("group.10-prod", {"a": 3}, "env=prod")
    await desk.put(f"instance.{crew.name(4)}", {"c": 5})
    layers = (await config.current(desk.bus)).layers
    wanted = set()
    for number in range(COUNT):
        card = crew.card(number)
        made = layers.of(card.agent, card.site, card.labels, tuple(crew.versions(number)))
        beat = await desk.says(card.agent, config=made.hash, commit=COMMIT[:12])
        assert beat.versions == {one.name: one.version for one in card.capabilities}
        wanted.add(made.hash)
    assert len(wanted) == 3
    report = simulated.report()
    # Nobody had to ask for what it was told.
    assert (report.fetches, report.dropped) == (COUNT, 0)


async def test_one_that_joins_has_what_was_there_before(
    nats_url: str, fleet: str, coordinator: Coordinator, desk: Desk
) -> None:
    await desk.commit(COMMIT, **{"global": {"a": 1}})
    wanted = (await config.current(desk.bus)).layers.of("", "", {}, ()).hash
    async with running(nats_url, fleet, COUNT):
        for number in range(COUNT):
            await desk.says(crew.name(number), config=wanted, commit=COMMIT[:12])


async def test_a_batch_counts_with_its_head_and_garbage_does_not(
    simulated: SimulatedFleet, desk: Desk
) -> None:
    await desk.put("global", {"a": 1})
    good = (await config.current(desk.bus)).layers.of("", "", {}, ()).hash
    await desk.says(crew.name(1), config=good)
    await desk.garbage("layer.fleet", b"not json")
    await desk.put("group.10-nobody", {"a": 2}, "env=none")
    assert (await desk.report(crew.name(1))).hash == good
    await eventually(lambda: simulated.report().dropped == COUNT)


async def test_a_survey_finds_who_is_behind_and_who_rejects(
    simulated: SimulatedFleet, desk: Desk
) -> None:
    await desk.put("global", {"a": 1})
    old = (await config.current(desk.bus)).layers.of("", "", {}, ()).hash
    for number in range(COUNT):
        await desk.says(crew.name(number), config=old)
    simulated.stance("deaf", 10, 3)
    simulated.stance("rejects", 10, 7)
    await desk.put("global", {"a": 2})
    new = (await config.current(desk.bus)).layers.of("", "", {}, ()).hash
    await desk.says(crew.name(0), config=new)
    await desk.says(crew.name(7), config=old, rejected=new)
    await eventually(lambda: len(desk.events) == COUNT // 10)
    found = await drift.survey(desk.bus)
    assert {one.agent: one.verdict for one in found.standings if one.drifts} == {
        crew.name(3): "behind",
        crew.name(7): "rejected",
        crew.name(13): "behind",
        crew.name(17): "rejected",
    }


@pytest.mark.fault
async def test_each_asks_once_more_when_it_comes_back() -> None:
    async with (
        NatsServer() as server,
        own_fleet(server.url) as fleet,
        Coordinator.connect(server.url, fleet),
        running(server.url, fleet, COUNT) as simulated,
        connect(server.url, fleet) as bus,
    ):
        joined_at = simulated.report().all_at
        await server.restart()
        await eventually(lambda: bus.connected, timeout=20)
        now = await config.current(bus)
        layers = {"global": ConfigLayer({"a": 1})}
        await config.commit(bus, layers, ConfigHead(COMMIT), now)
        await eventually(all_back(simulated, joined_at), timeout=20)
        desk = await Desk(bus).start()
        wanted = (await config.current(bus)).layers.of("", "", {}, ()).hash
        for number in range(COUNT):
            await desk.says(crew.name(number), config=wanted, commit=COMMIT[:12])
        await eventually(lambda: simulated.report().fetches == COUNT * 2)
