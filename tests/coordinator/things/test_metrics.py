"""What /metrics says of things."""

from __future__ import annotations

from bus import Client
from bus.testing import eventually
from coordinator import Coordinator
from coordinator.metrics import Metrics
from tests.coordinator.things.conftest import Make
from tests.coordinator.things.helpers import there


async def test_things_are_counted(coordinator: Coordinator, client: Client, device: Make) -> None:
    metrics = Metrics()
    metrics.watch(coordinator)

    def shown(*wanted: str) -> bool:
        return set(wanted) <= set(metrics.render()[1].decode().splitlines())

    assert shown('fleetbus_things{standing="ready"} 0.0', "fleetbus_thing_tasks_held 0.0")
    relay = await device("relay-1", every=0)
    await there(client, "relay-1")
    handle = await client.submit("blink", {})
    await eventually(lambda: handle.id in relay.held)
    relay.publish("state", {"boot": "b", "tasks": 5})
    relay.publish("result", {"task": "you.1", "state": "completed"})
    await eventually(
        lambda: shown(
            'fleetbus_things{standing="ready"} 1.0',
            "fleetbus_thing_tasks_held 1.0",
            "fleetbus_thing_tasks_sent_total 1.0",
            "fleetbus_thing_configs_sent_total 0.0",
            'fleetbus_thing_messages_total{kind="announce"} 1.0',
            'fleetbus_thing_messages_total{kind="state"} 1.0',
            'fleetbus_thing_messages_refused_total{kind="state",reason="malformed"} 1.0',
            'fleetbus_thing_messages_refused_total{kind="result",reason="not-allowed"} 1.0',
        )
    )
    relay.publish("bye", {"boot": relay.boot})
    await there(client)
    await eventually(
        lambda: shown('fleetbus_things{standing="ready"} 0.0', "fleetbus_thing_tasks_held 0.0")
    )
