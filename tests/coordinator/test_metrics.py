"""What /metrics counts."""

from __future__ import annotations

from bus import Client
from bus.telemetry import (
    AgentSeen,
    Buried,
    Dropped,
    Expired,
    Forwarded,
    Happening,
    Redelivered,
    Refused,
    TaskRun,
)
from bus.testing import eventually
from coordinator import Coordinator
from coordinator.metrics import MAX_SERIES, Metrics
from tests.conftest import Join
from tests.e2e.test_task_path import echo_agent


def lines(metrics: Metrics) -> set[str]:
    return set(metrics.render()[1].decode().splitlines())


def test_events_are_counted() -> None:
    metrics = Metrics()
    events: list[Happening] = [
        Forwarded("sum", "a", 0.25),
        Forwarded("sum", "a", 0.5),
        Refused("sum", "a", "busy"),
        Redelivered("sum", "c.1", 2),
        Buried("sum", "c.1", "poison"),
        Expired("sum", "c.2"),
        AgentSeen("a", "lost", returned=3),
        Dropped("fleet.x.hb.a.b", "garbage"),
        TaskRun("sum", "c.1", "completed", 1, 0.1),
    ]
    for event in events:
        metrics.on_event(event)
    assert lines(metrics) >= {
        'fleetbus_forwarded_total{capability="sum"} 2.0',
        'fleetbus_forward_wait_seconds_total{capability="sum"} 0.75',
        'fleetbus_refused_total{capability="sum",reason="busy"} 1.0',
        'fleetbus_redelivered_total{capability="sum"} 1.0',
        'fleetbus_buried_total{capability="sum"} 1.0',
        'fleetbus_expired_total{capability="sum"} 1.0',
        'fleetbus_agent_changes_total{state="lost"} 1.0',
        "fleetbus_agents_lost_total 1.0",
        "fleetbus_returned_total 3.0",
        "fleetbus_dropped_total 1.0",
    }


def test_names_from_the_wire_cannot_fill_the_memory() -> None:
    metrics = Metrics()
    for number in range(MAX_SERIES + 500):
        metrics.on_event(Expired(f"c{number}", "c.1"))
        metrics.on_event(Refused(f"c{number}", "a", "busy"))
    shown = lines(metrics)
    assert 'fleetbus_expired_total{capability="other"} 500.0' in shown
    assert 'fleetbus_refused_total{capability="other",reason="other"} 500.0' in shown
    assert sum(line.startswith("fleetbus_expired_total") for line in shown) == MAX_SERIES + 1


async def test_gauges_show_the_coordinator(
    nats_url: str, fleet: str, client: Client, join: Join
) -> None:
    metrics = Metrics()
    async with Coordinator.connect(nats_url, fleet, hook=metrics) as coordinator:
        metrics.watch(coordinator)
        await join(echo_agent(slots=4))
        assert await client.call("echo", {"text": "x"}, timeout=5) == "x"

        def shown() -> bool:
            return lines(metrics) >= {
                'fleetbus_agents{standing="ready"} 1.0',
                "fleetbus_held 0.0",
                "fleetbus_coordinators 1.0",
                "fleetbus_connected 1.0",
                "fleetbus_ready 1.0",
                'fleetbus_forwarded_total{capability="echo"} 1.0',
            }

        await eventually(shown)

        def room() -> bool:
            line = next(line for line in lines(metrics) if line.startswith("fleetbus_room "))
            return float(line.split()[1]) >= 4

        # The next heartbeat says that the call has ended.
        await eventually(room)
    assert "fleetbus_ready 0.0" in lines(metrics)
