"""The bridge's part of a coordinator's /metrics. Imported only where that is served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from coordinator.things.bridge import Things
from coordinator.view import FleetView


def collect(bridge: Things, view: FleetView) -> Iterator[Metric]:
    """How many things there are and what they hold is the fleet's, the same at each coordinator;
    what they said and were sent is this coordinator's share."""
    standings = Counter({"ready": 0, "draining": 0, "suspect": 0})
    held = 0
    for thing in bridge.known():
        entry = view.agents.get(thing)
        if entry is not None:
            standings[entry.standing] += 1
            held += entry.reported
    things = GaugeMetricFamily(
        "fleetbus_things", "MQTT things that are up, by their standing", labels=["standing"]
    )
    for standing, count in standings.items():
        things.add_metric([standing], count)
    yield things
    yield GaugeMetricFamily(
        "fleetbus_thing_tasks_held", "Tasks and calls that MQTT things hold", value=held
    )
    taken = CounterMetricFamily(
        "fleetbus_thing_messages", "Messages of MQTT things taken here", labels=["kind"]
    )
    for kind, count in bridge.inbox.taken.items():
        taken.add_metric([kind], count)
    yield taken
    refused = CounterMetricFamily(
        "fleetbus_thing_messages_refused",
        "Messages of MQTT things that were dropped here",
        labels=["kind", "reason"],
    )
    for (kind, reason), count in bridge.inbox.refused.items():
        refused.add_metric([kind, reason], count)
    yield refused
    yield CounterMetricFamily(
        "fleetbus_thing_tasks_sent",
        "Tasks and calls sent to MQTT things from here",
        value=bridge.tasks.sent,
    )
    yield CounterMetricFamily(
        "fleetbus_thing_configs_sent",
        "Configurations sent to MQTT things from here",
        value=bridge.configuring.sent,
    )
