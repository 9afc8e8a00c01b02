"""The links of a hub to its sites, as its coordinators keep them: who of the fleet is away."""

from __future__ import annotations

from bus import codec, store
from bus.connection import Bus
from bus.errors import DecodeError
from bus.sites import HUB
from bus.subjects import SITE
from bus.wire.site import SiteRecord


async def away(bus: Bus) -> dict[str, SiteRecord]:
    """By name: the sites whose link is down. To be asked at the hub; a site knows of no other.

    Raises:
        TopologyMissing: this fleet does not exist here.
        TimeoutError, BusError: as for ``store.scan``.
    """
    subjects = bus.subjects
    start = f"{subjects.config_keys}{SITE}"
    found: dict[str, SiteRecord] = {}
    async for message in store.scan(bus, subjects.config_stream, f"{start}*"):
        name = message.headers["Nats-Subject"][len(start) :]
        found.pop(name, None)
        if not message.data or name == HUB:
            continue
        try:
            record = codec.decode(SiteRecord, message.data, f"record of site {name}")
        except DecodeError as problem:
            bus.drop(message.subject, problem)
            continue
        if not record.connected:
            found[name] = record
    return found
