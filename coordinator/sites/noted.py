"""What a site's coordinators write into the site's own configuration bucket.

How the link is, for the site's tools; and what the hub has said that the site may be given, for
when it is alone.
"""

from __future__ import annotations

import logging
import time

from bus import codec, store
from bus.connection import Bus
from bus.errors import DecodeError
from bus.sites import HUB
from bus.subjects import SITE, SPILL
from bus.wire.site import SitePolicy, SiteRecord

log = logging.getLogger("fleetbus.sites")


class Noted:
    """The keys ``site.hub`` and ``spill.<site>`` of one site."""

    def __init__(self, bus: Bus, me: str, site: str) -> None:
        """``me``: the coordinator that writes them."""
        self._bus = bus
        self._me = me
        self._site = site
        self._link = f"{bus.subjects.config_keys}{SITE}{HUB}"
        self._policy = f"{bus.subjects.config_keys}{SPILL}{site}"
        self._said: bool | None = None
        """What the record of the link says, as far as this coordinator knows."""

    def doubt(self) -> None:
        """Another coordinator may have written meanwhile."""
        self._said = None

    async def link(self, connected: bool, why: str) -> None:
        """See to it that the record says so. Since when stays as it is if it says so already.

        Raises:
            BusError, TimeoutError: as for ``store.last`` and ``store.publish``.
        """
        if self._said == connected:
            return
        before = await self._read_link()
        if before is None or (before.site, before.connected) != (self._site, connected):
            at = time.time_ns() // 1_000_000
            record = SiteRecord(self._site, connected, at, why, self._me)
            await store.publish(self._bus, self._link, codec.encode(record))
        self._said = connected

    async def policy(self) -> SitePolicy | None:
        """What the hub said last; None if that is not known.

        Raises:
            BusError, TimeoutError: as for ``store.last``.
        """
        message = await store.last(self._bus, self._bus.subjects.config_stream, self._policy)
        if message is None or not message.data:
            return None
        try:
            return codec.decode(SitePolicy, message.data, "the site's copy of its policy")
        except DecodeError as problem:
            log.warning("the hub tells it again: %s", problem)
            return None

    async def keep(self, policy: SitePolicy) -> None:
        """Keep what the hub has said.

        Raises:
            BusError, TimeoutError: as for ``store.publish``.
        """
        await store.publish(self._bus, self._policy, codec.encode(policy))

    # the inside

    async def _read_link(self) -> SiteRecord | None:
        message = await store.last(self._bus, self._bus.subjects.config_stream, self._link)
        if message is None or not message.data:
            return None
        try:
            return codec.decode(SiteRecord, message.data, "record of the link to the hub")
        except DecodeError as problem:
            log.warning("written anew: %s", problem)
            return None
