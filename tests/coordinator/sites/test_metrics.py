"""What /metrics says of links, on both sides."""

from __future__ import annotations

from pathlib import Path

from bus.testing import eventually
from coordinator.metrics import Metrics
from tests.docs.tables import codes, sections
from tests.support.site_scene import Patient, Scene, scene

PREFIXES = ("fleetbus_site_", "fleetbus_hub_")


def lines(metrics: Metrics) -> set[str]:
    return set(metrics.render()[1].decode().splitlines())


def watched(one: Scene) -> tuple[Metrics, Metrics]:
    hub, site = Metrics(), Metrics()
    hub.watch(one.hub)
    site.watch(one.site)
    return hub, site


def names(metrics: Metrics) -> set[str]:
    """Of all that is about links, as they are scraped."""
    told = (line.split() for line in lines(metrics) if line.startswith("# TYPE"))
    return {name for _, _, name, _ in told if name.startswith(PREFIXES)}


async def test_links_are_counted_on_both_sides(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        hub, site = watched(one)
        patient = Patient("p1")
        await one.agent(one.there.hub.url, patient.agent)
        handle = await one.above.submit("echo", {"text": "far"}, select="site=s1")
        await handle.result(timeout=8)
        await one.below.submit("wait", {"text": "up"})
        at_hub = {
            'fleetbus_site_connected{site="s1"} 1.0',
            'fleetbus_site_owned{site="s1"} 1.0',
            'fleetbus_site_agents{site="s1"} 1.0',
            'fleetbus_site_moved_total{site="s1",stream="results"} 1.0',
            'fleetbus_site_moved_total{site="s1",stream="sites"} 1.0',
            'fleetbus_site_unreadable_total{site="s1",stream="results"} 0.0',
            'fleetbus_site_lag{site="s1",stream="events"} 0.0',
            'fleetbus_agents{standing="ready"} 1.0',
            "fleetbus_site_handed_total 1.0",
        }
        at_site = {
            "fleetbus_hub_connected 1.0",
            "fleetbus_hub_owned 1.0",
            "fleetbus_hub_owes 1.0",
            "fleetbus_hub_moved_total 1.0",
            "fleetbus_site_handed_total 1.0",
        }
        await eventually(lambda: at_hub <= lines(hub), timeout=8)
        await eventually(lambda: at_site <= lines(site), timeout=8)
        patient.go_on.set()
        await eventually(lambda: "fleetbus_hub_owes 0.0" in lines(site))
        await one.cut()
        assert 'fleetbus_site_connected{site="s1"} 0.0' in lines(hub)
        await eventually(lambda: "fleetbus_hub_connected 0.0" in lines(site))
        documented = set(codes(sections("sites.md")["Metrics"].text))
        exported = names(hub) | names(site)
        assert {one for one in documented if one.startswith(PREFIXES)} == exported
