"""The Prometheus side of a coordinator. Imported only where /metrics is served.

Counting happens in plain dictionaries, a few dozen nanoseconds an event; Prometheus's own
objects are made when somebody scrapes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from bus.telemetry import (
    AgentSeen,
    Buried,
    Dropped,
    Expired,
    Forwarded,
    Happening,
    Redelivered,
    Refused,
)
from coordinator.parity import STATES, Counts
from coordinator.service import Coordinator
from coordinator.sites import metrics as sites
from coordinator.things import metrics as things

MAX_SERIES: Final = 2000
"""Label sets of one counter. What comes off the wire must not fill the memory of whoever
stores this: further ones are counted under ``other``."""

OTHER: Final = "other"


class Metrics(Collector):
    """Counts what happens, and shows it beside a coordinator's state.

    Hand it to the coordinator as its hook, then ``watch`` the coordinator.
    """

    def __init__(self) -> None:
        self._forwarded: Counter[str] = Counter()
        self._waited: defaultdict[str, float] = defaultdict(float)
        self._refused: Counter[tuple[str, str]] = Counter()
        self._redelivered: Counter[str] = Counter()
        self._buried: Counter[str] = Counter()
        self._expired: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._returned = 0
        self._dropped = 0
        self._coordinator: Coordinator | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def watch(self, coordinator: Coordinator) -> None:
        """Show this coordinator's state from now on."""
        self._coordinator = coordinator

    def on_event(self, event: Happening) -> None:
        """Count one happening (the ``bus.telemetry.Hook`` protocol)."""
        match event:
            case Forwarded(capability=name, waited=waited):
                key = _bounded(self._forwarded, name)
                self._forwarded[key] += 1
                self._waited[key] += waited
            case Refused(capability=name, reason=reason):
                pair = (name, reason)
                full = len(self._refused) >= MAX_SERIES and pair not in self._refused
                self._refused[(OTHER, OTHER) if full else pair] += 1
            case Redelivered(capability=name):
                self._redelivered[_bounded(self._redelivered, name)] += 1
            case Buried(capability=name):
                self._buried[_bounded(self._buried, name)] += 1
            case Expired(capability=name):
                self._expired[_bounded(self._expired, name)] += 1
            case AgentSeen(state=state, returned=returned):
                self._seen[state] += 1
                self._returned += returned
            case Dropped():
                self._dropped += 1
            case _:
                # The others happen in agents.
                pass

    def render(self) -> tuple[str, bytes]:
        """Content type and body of a scrape."""
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: names are known when they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        yield from self._counters()
        if self._coordinator is not None:
            yield from _gauges(self._coordinator)

    def _counters(self) -> Iterator[Metric]:
        one = _by_capability
        yield one("forwarded", "Tasks and calls sent to agents", self._forwarded)
        yield one("forward_wait_seconds", "Time held for want of room", self._waited)
        refused = CounterMetricFamily(
            "fleetbus_refused",
            "Tasks and calls that an agent did not take: busy, or gone",
            labels=["capability", "reason"],
        )
        for (name, reason), count in self._refused.items():
            refused.add_metric([name, reason], count)
        yield refused
        yield one("redelivered", "Tasks that the broker gave out again", self._redelivered)
        yield one("buried", "Tasks put with the dead letters", self._buried)
        yield one("expired", "Tasks whose deadline passed before they ran", self._expired)
        seen = CounterMetricFamily(
            "fleetbus_agent_changes", "Agents seen to change their state", labels=["state"]
        )
        for state, count in self._seen.items():
            seen.add_metric([state], count)
        yield seen
        yield CounterMetricFamily(
            "fleetbus_agents_lost", "Agents that died", value=self._seen["lost"]
        )
        yield CounterMetricFamily(
            "fleetbus_returned", "Tasks handed back because an agent died", value=self._returned
        )
        yield CounterMetricFamily(
            "fleetbus_dropped", "Messages that could not be handled", value=self._dropped
        )


def _bounded(counter: Counter[str], name: str) -> str:
    return name if name in counter or len(counter) < MAX_SERIES else OTHER


def _by_capability(name: str, text: str, counts: dict[str, int] | dict[str, float]) -> Metric:
    family = CounterMetricFamily(f"fleetbus_{name}", text, labels=["capability"])
    for capability, count in counts.items():
        family.add_metric([capability], count)
    return family


def _gauges(coordinator: Coordinator) -> Iterator[Metric]:
    standings = Counter({"ready": 0, "draining": 0, "suspect": 0})
    room = 0
    for entry in coordinator.view:
        standings[entry.standing] += 1
        room += entry.room
    agents = GaugeMetricFamily(
        "fleetbus_agents", "Agents of the fleet by their standing", labels=["standing"]
    )
    for standing, count in standings.items():
        agents.add_metric([standing], count)
    yield agents
    plain: tuple[tuple[str, str, float], ...] = (
        ("room", "Tasks that the fleet would take now", room),
        ("held", "Tasks held here for want of room", coordinator.dispatcher.all_held()),
        ("coordinators", "Coordinators alive, this one included", coordinator.peers.count),
        ("connected", "1 while the broker is connected", coordinator.bus.connected),
        ("ready", "1 while tasks are routed", coordinator.ready and coordinator.bus.connected),
    )
    for name, text, value in plain:
        yield GaugeMetricFamily(f"fleetbus_{name}", text, value=value)
    yield from sites.collect(coordinator.sites)
    yield from _coherence(coordinator.parity.count())
    yield from things.collect(coordinator.things, coordinator.view)


def _coherence(counts: Counts) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "fleetbus_config_parity_ratio",
        "Share of the agents that run the configuration that they should",
        value=counts.parity,
    )
    agents = GaugeMetricFamily(
        "fleetbus_config_agents", "Agents by how their configuration stands", labels=["state"]
    )
    for state in STATES:
        agents.add_metric([state], counts.agents[state])
    yield agents
    parity = GaugeMetricFamily(
        "fleetbus_version_parity_ratio",
        "Share of a capability's agents that run its most frequent version",
        labels=["capability"],
    )
    versions = GaugeMetricFamily(
        "fleetbus_version_agents",
        "Agents by capability and version",
        labels=["capability", "version"],
    )
    series = 0
    for capability, count in sorted(counts.versions.items()):
        series += len(count)
        if series > MAX_SERIES:
            break
        parity.add_metric([capability], max(count.values()) / count.total())
        for version, number in count.items():
            versions.add_metric([capability, version], number)
    yield parity
    yield versions
