"""What one frame of ``top`` shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bus.client.queue import Lane
from bus.wire.event import Event
from bus.wire.heartbeat import CoordinatorBeat
from bus.wire.site import SiteRecord
from fleetbus.roster import Row


@dataclass(frozen=True, slots=True)
class Share:
    """A percentile or two of a sample, in milliseconds."""

    median: float
    p99: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One frame's worth. Rates are tasks a second."""

    fleet: str
    url: str
    at: float
    rows: list[Row]
    rates: dict[str, float]
    """By agent, where two heartbeats have been heard."""
    lanes: list[Lane]
    dead: int
    coordinators: list[CoordinatorBeat]
    events: list[Event]
    """The newest first."""
    queued: Share | None
    ran: Share | None
    connected: bool = True
    hub: SiteRecord | None = None
    """At a site: how its link is."""
    sites: list[SiteRecord] = field(default_factory=list)
    """At the hub: how the links to its sites are."""

    def summary(self) -> dict[str, Any]:
        """For scripts."""
        agents = [
            {**row.summary(), "done_per_s": self.rates.get(row.card.agent)} for row in self.rows
        ]
        kept = ("lanes", "dead", "coordinators", "events", "queued", "ran", "hub", "sites")
        return {
            "fleet": self.fleet,
            "url": self.url,
            "at_ms": round(self.at * 1000),
            "connected": self.connected,
            "agents": agents,
            **{name: getattr(self, name) for name in kept},
        }


def percentiles(values: list[float]) -> Share | None:
    """Median and 99th percentile by nearest rank; None of nothing. Pure."""
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    return Share(ordered[round(last * 0.5)], ordered[round(last * 0.99)])
