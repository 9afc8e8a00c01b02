"""The fleet's coherence, as coordinators see it in heartbeats."""

from __future__ import annotations

from typing import Any

import pytest

from agent_runtime import Agent
from bus import Bus
from bus.client import config
from bus.client.brief import Brief
from bus.config import Layers, Stored
from bus.config.merge import digest
from bus.testing import eventually
from bus.wire import Heartbeat
from bus.wire.config import ConfigLayer
from coordinator import Coordinator
from coordinator.metrics import Metrics
from coordinator.parity import Parity
from coordinator.view import FleetView
from tests.conftest import Join

EMPTY = digest({})
GPU = digest({"gpu": True})


def layers(**stored: tuple[str, dict[str, Any]]) -> Layers:
    """Layers by name, ``__`` for a dot and ``_`` for a dash: a selector and values."""
    return Layers(
        Stored(name.replace("__", ".").replace("_", "-"), ConfigLayer(values, selector), 1)
        for name, (selector, values) in stored.items()
    )


def view(bus: Bus, *said: tuple[str, dict[str, str], dict[str, Any]]) -> Parity:
    """Agents by id, labels, and what their heartbeat says; nothing if that is empty."""
    made = FleetView("me")
    for agent, labels, beat in said:
        entry = made.put(Brief(agent, "i", "s", labels, 1, ("echo",)), 1)
        if beat:
            made.beat(entry, Heartbeat(agent, "i", 1, **beat))
    return Parity(bus, made)


@pytest.mark.parametrize("selector", ["gpu", "gpu,agent in (a,b,c,d,e,f)"])
async def test_each_agent_is_held_to_its_own_layers(bus: Bus, selector: str) -> None:
    gpu = {"gpu": "1"}
    parity = view(
        bus,
        ("a", {}, {"config": EMPTY}),
        ("b", gpu, {"config": GPU}),
        ("c", gpu, {"config": EMPTY}),
        ("d", gpu, {"config": GPU, "overrides": 2}),
        ("e", gpu, {"config": EMPTY, "rejected": GPU}),
        ("f", gpu, {}),
    )
    parity._layers = layers(group__10_gpu=(selector, {"gpu": True}))
    counts = parity.count()
    assert counts.agents == {
        "in-sync": 2,
        "overridden": 1,
        "rejected": 1,
        "behind": 1,
        "silent": 1,
    }
    assert counts.parity == pytest.approx(0.5)
    # An instance has its own.
    parity._layers = layers(instance__a=("", {"gpu": True}), **{"global": ("", {"gpu": True})})
    assert parity.count().agents["behind"] == 2


async def test_versions_are_counted(bus: Bus) -> None:
    parity = view(
        bus,
        ("a", {}, {"config": EMPTY, "versions": {"echo": "1", "sum": "1"}}),
        ("b", {}, {"config": EMPTY, "versions": {"echo": "2"}}),
        ("c", {}, {"config": EMPTY, "versions": {"echo": "2"}}),
    )
    assert parity.count().versions == {"echo": {"1": 1, "2": 2}, "sum": {"1": 1}}


def test_an_empty_fleet_is_at_one() -> None:
    from coordinator.parity import Counts

    assert Counts().parity == 1.0


async def test_metrics_follow_a_change(coordinator: Coordinator, bus: Bus, join: Join) -> None:
    agent = Agent("a1")

    @agent.capability("echo", version="1.2.0")
    async def echo(text: str) -> str:
        return text

    await join(agent)
    metrics = Metrics()
    metrics.watch(coordinator)

    def all_there() -> bool:
        return set(metrics.render()[1].decode().splitlines()) >= {
            'fleetbus_config_agents{state="in-sync"} 1.0',
            "fleetbus_config_parity_ratio 1.0",
            'fleetbus_version_parity_ratio{capability="echo"} 1.0',
            'fleetbus_version_agents{capability="echo",version="1.2.0"} 1.0',
        }

    await eventually(all_there)
    values = {"x": 1}
    await config.put(bus, "global", ConfigLayer(values), 0)
    await eventually(lambda: coordinator.parity.layers.of("a1", "s", {}, []).values == values)
    await eventually(all_there)
