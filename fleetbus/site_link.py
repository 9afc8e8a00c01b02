"""What a site's own tools see of its link to the hub: the record, and what waits on this side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bus import Bus, codec, store
from bus.client import queue, registry
from bus.errors import FleetError
from bus.sites import HUB
from bus.subjects import SITE, SPILL
from bus.wire.site import SitePolicy, SiteRecord
from coordinator.sites.behind import behind

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Upward:
    """The link of the site whose server was asked."""

    record: SiteRecord
    policy: SitePolicy
    waiting: int
    """Tasks here that wait for the hub: handed over and not taken yet, or offered by nobody
    here."""
    lag: dict[str, int]
    """By stream: other messages that the hub does not have yet."""

    def summary(self) -> dict[str, Any]:
        """Flat, for scripts: the same keys as a site's at the hub."""
        return {
            "site": HUB,
            "here": self.record.site,
            "connected": self.record.connected,
            "since_ms": self.record.since_ms,
            "why": self.record.why,
            "agents": None,
            "tasks_for_it": self.waiting,
            "tasks_there": None,
            "lag": self.lag,
            "spill": None,
            "accepts": None,
            "up": self.policy.up,
        }


async def own(bus: Bus) -> SiteRecord | None:
    """How the link to the hub is, as the coordinator of this site keeps it. None where this
    server is no site's, or no coordinator of the site has been here yet.

    Raises:
        DecodeError: the record cannot be read.
        TopologyMissing, TimeoutError, BusError: as for ``store.last``.
    """
    subjects = bus.subjects
    key = f"{subjects.config_keys}{SITE}{HUB}"
    message = await store.last(bus, subjects.config_stream, key)
    if message is None or not message.data:
        return None
    return codec.decode(SiteRecord, message.data, "record of the link to the hub")


async def not_here(bus: Bus) -> None:
    """Sites are managed at the hub.

    Raises:
        FleetError: this server is a site's.
    """
    record = await own(bus)
    if record is not None:
        raise FleetError(
            f"this is the server of site {record.site}: say it at the hub, with the hub's --url"
        )


async def look(bus: Bus, record: SiteRecord) -> Upward:
    """All that there is to see of the link that ``record`` tells of.

    Raises:
        DecodeError, TopologyMissing, TimeoutError, BusError: as for ``own`` and ``Bus.api``.
    """
    subjects = bus.subjects
    key = f"{subjects.config_keys}{SPILL}{record.site}"
    stored = await store.last(bus, subjects.config_stream, key)
    policy = SitePolicy()
    if stored is not None and stored.data:
        policy = codec.decode(SitePolicy, stored.data, "the site's copy of its policy")
    lag = await behind(bus, record.site)
    waiting = lag.pop(subjects.sites_stream, 0)
    offered = {one async for card in registry.briefs(bus) for one in card.capabilities}
    for lane in await queue.lanes(bus):
        if lane.capability not in offered:
            waiting += lane.waiting + lane.held
    return Upward(record, policy, waiting, lag)


def table(link: Upward) -> Table:
    """For people."""
    from rich.text import Text

    from fleetbus import console

    record = link.record
    made = console.table("link to", "state", "for", ">for it", "lag", "up")
    made.add_row(
        HUB,
        Text("connected", "green") if record.connected else Text("away", "red"),
        console.age(record.since_ms),
        f"{link.waiting:,}",
        shown(link.lag),
        link.policy.up,
    )
    return made


def shown(lag: dict[str, int]) -> str:
    """``results 12, events 3``, or ``none``."""
    parts = [f"{name.split('_')[0].lower()} {count:,}" for name, count in lag.items() if count]
    return ", ".join(parts) or "none"
