"""What a site's coordinators keep for its tools, and for when it is alone."""

from __future__ import annotations

import pytest

from bus import Bus, store
from bus.wire.site import SitePolicy, SiteRecord
from coordinator import Coordinator
from coordinator.sites.hub import HubSites
from coordinator.sites.noted import Noted
from fleetbus import site_link


async def record(bus: Bus) -> SiteRecord:
    found = await site_link.own(bus)
    assert found is not None
    return found


async def test_since_when_the_link_is_so(bus: Bus) -> None:
    assert await site_link.own(bus) is None
    first = Noted(bus, "c1", "berlin")
    await first.link(False, "the link is down")
    down = await record(bus)
    assert (down.site, down.connected, down.why, down.by) == (
        "berlin",
        False,
        "the link is down",
        "c1",
    )
    # Another coordinator takes over, or this one starts anew: since when stays.
    second = Noted(bus, "c2", "berlin")
    await second.link(False, "still")
    assert await record(bus) == down
    await second.link(True, "")
    up = await record(bus)
    assert (up.connected, up.why, up.by) == (True, "", "c2")
    assert up.since_ms >= down.since_ms
    # What another has written meanwhile is looked up when this one is to write again.
    await first.link(False, "nobody answers")
    assert (await record(bus)).connected
    first.doubt()
    await first.link(False, "nobody answers")
    assert not (await record(bus)).connected


async def test_garbage_is_written_anew(bus: Bus) -> None:
    await store.publish(bus, f"{bus.subjects.config_keys}site.hub", b"{")
    await store.publish(bus, f"{bus.subjects.config_keys}spill.berlin", b"{")
    noted = Noted(bus, "c1", "berlin")
    assert await noted.policy() is None
    await noted.link(True, "")
    assert (await record(bus)).connected


async def test_a_policy_is_kept(bus: Bus) -> None:
    noted = Noted(bus, "c1", "berlin")
    assert await noted.policy() is None
    await noted.keep(SitePolicy(up="when-full"))
    assert await Noted(bus, "c2", "berlin").policy() == SitePolicy(up="when-full")


async def test_a_coordinator_that_should_be_a_sites_is_told(
    nats_url: str, fleet: str, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    await Noted(bus, "c1", "berlin").link(True, "")
    async with Coordinator.connect(nats_url, fleet) as made:
        assert isinstance(made.sites, HubSites)
        assert not made.sites.links
        assert not made.bus.dropped
    assert "this is the server of site berlin" in caplog.text
    assert "--site berlin" in caplog.text
