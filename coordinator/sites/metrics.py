"""The links of sites for Prometheus. Imported only where /metrics is served."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from coordinator.sites.hub import HubSites
from coordinator.sites.uplink import Uplink


def collect(sites: HubSites | Uplink) -> Iterator[Metric]:
    """How the links stand, seen from the side that this coordinator is on."""
    handed = sites.handover
    yield CounterMetricFamily(
        "fleetbus_site_handed", "Tasks handed over to another side of a link", value=handed.handed
    )
    yield CounterMetricFamily(
        "fleetbus_site_handed_failed", "Tasks that could not be handed over", value=handed.failed
    )
    yield from _hub(sites) if isinstance(sites, HubSites) else _site(sites)


def _hub(sites: HubSites) -> Iterator[Metric]:
    def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"fleetbus_site_{name}", text, labels=["site", *labels])

    def counter(name: str, text: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"fleetbus_site_{name}", text, labels=["site", "stream"])

    connected = gauge("connected", "1 while the site reports")
    owned = gauge("owned", "1 while this coordinator looks after the site")
    agents = gauge("agents", "Agents of the site, as it reported them last")
    room = gauge("room", "Tasks that the site's agents would take")
    waiting = gauge("waiting", "Tasks in the site's queue, as it reported last")
    lag = gauge("lag", "Messages of the site that the hub does not have yet", "stream")
    moved = counter("moved", "Messages of the site that were stored at the hub")
    refused = counter("refused", "Messages of the site that the hub had already")
    unreadable = counter("unreadable", "Messages of the site that could not be stored at the hub")
    for site, link in sorted(sites.links.items()):
        connected.add_metric([site], link.place.connected)
        owned.add_metric([site], link.owned)
        agents.add_metric([site], len(link.known.cards))
        room.add_metric([site], max(0, link.place.room))
        report = link.known.last
        if report is not None:
            waiting.add_metric([site], report.waiting)
        for stream, pump in link.hauling.pumps.items():
            kind = stream.split("_")[0].lower()
            lag.add_metric([site, kind], report.lag.get(stream, 0) if report is not None else 0)
            moved.add_metric([site, kind], pump.tally.moved)
            refused.add_metric([site, kind], pump.tally.refused)
            unreadable.add_metric([site, kind], pump.tally.unreadable)
    yield from (connected, owned, agents, room, waiting, lag, moved, refused, unreadable)


def _site(link: Uplink) -> Iterator[Metric]:
    tally = link.pump.tally if link.pump is not None else None
    yield GaugeMetricFamily(
        "fleetbus_hub_connected", "1 while the hub answers", value=link.connected
    )
    yield GaugeMetricFamily(
        "fleetbus_hub_owned",
        "1 while this coordinator looks after the link to the hub",
        value=tally is not None,
    )
    yield GaugeMetricFamily(
        "fleetbus_hub_owes",
        "Tasks handed up to the hub whose results are not here yet",
        value=len(link.debts.open),
    )
    yield CounterMetricFamily(
        "fleetbus_hub_moved",
        "Tasks of the hub that were stored here",
        value=tally.moved if tally is not None else 0,
    )
