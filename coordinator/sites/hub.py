"""All sites, as a coordinator of the hub sees them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Final

import msgspec

from bus import codec, sites, store
from bus.background import Background
from bus.client import registry
from bus.connection import Bus
from bus.errors import FleetError
from bus.sites import HUB
from bus.subjects import CONNECTS, DISCONNECTS, HEAD, LAYERS, SITE, SPILL
from bus.transport import Inbound
from bus.wire.site import SitePolicy, SiteRecord, SiteReport
from coordinator.dispatcher import Dispatcher
from coordinator.monitor import Monitor
from coordinator.peers import Peers
from coordinator.puller import Puller
from coordinator.sites import cancels, routes
from coordinator.sites.handover import Handover
from coordinator.sites.link import Link
from coordinator.sites.place import sort
from coordinator.sites.relay import Relay
from coordinator.turns import Turns
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView

log = logging.getLogger("fleetbus.sites")

TICK: Final = 0.25
"""Seconds between looks at the clock."""

MAX_SITES: Final = 1000
"""Sites that one hub looks after."""

CARDS: Final = 128
"""Registry entries that are asked for at once."""


class _Client(msgspec.Struct):
    name: str = ""
    kind: str = ""


class _Connection(msgspec.Struct):
    """What we read of the server's events about connections."""

    client: _Client


def owner(site: str, coordinators: list[str]) -> str:
    """Which coordinator looks after a site: all that know of each other agree. Pure."""
    key = site.encode()[:64]
    return max(coordinators, key=lambda one: blake2b(one.encode(), key=key).digest())


class HubSites:
    """Knows the sites, looks after its share of them, and hands tasks over."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        monitor: Monitor,
        view: FleetView,
        peers: Peers,
        puller: Puller,
        dispatcher: Dispatcher,
        verdicts: Verdicts,
        interval: Callable[[], float],
    ) -> None:
        self.links: dict[str, Link] = {}
        self.handover = Handover(bus, HUB, verdicts)
        self._bus = bus
        self._me = me
        self._view = view
        self._monitor = monitor
        self._peers = peers
        self._puller = puller
        self._dispatcher = dispatcher
        self._interval = interval
        self._background = Background(log, "looking after sites")
        self._cancels = Turns(self._background, cancels.AT_ONCE)
        self._config = 0
        """Revision of the newest layer or head."""
        self._changed = False

    async def start(self) -> None:
        """Listen, then read what is known."""
        bus, subjects = self._bus, self._bus.subjects
        self._view.beyond = lambda pool: sort(pool, (one.place for one in self.links.values()))
        self._dispatcher.beyond = self.handover.take
        await bus.listen(subjects.site_reports, self._on_report)
        await bus.listen(subjects.all_site_wants, self._on_wants)
        await bus.listen(CONNECTS, partial(self._on_connection, True))
        await bus.listen(DISCONNECTS, partial(self._on_connection, False))
        await bus.listen(subjects.config(f"{SPILL}*"), self._on_policy)
        await bus.listen(subjects.config(f"{SITE}*"), self._on_record)
        await bus.listen(subjects.all_cancels, self._on_cancel)
        for key in (f"{LAYERS}>", HEAD):
            await bus.listen(subjects.config(key), self._on_config)
        await bus.flush()
        await self._read()
        bus.reconnected.append(self._on_reconnect)
        self._background.spawn(self._keep())

    async def stop(self) -> None:
        """Look after none any more."""
        if self._on_reconnect in self._bus.reconnected:
            self._bus.reconnected.remove(self._on_reconnect)
        self._cancels.close()
        await self._background.cancel()
        for link in self.links.values():
            await link.stop()

    def link(self, site: str) -> Link:
        """What is known of ``site``, from now on.

        Raises:
            InvalidName: no site may be called so.
            ValueError: there are too many.
        """
        found = self.links.get(site)
        if found is None:
            sites.site_name(site)
            if len(self.links) >= MAX_SITES:
                raise ValueError(f"more than {MAX_SITES} sites")
            relay = Relay(
                self._bus,
                site,
                lambda agent: agent in self._view.agents,
                partial(self._elsewhere, site),
                lambda agent: self._monitor.relayed.get(agent, 0),
            )
            found = Link(self._bus, self._me, site, relay, self._on_change)
            self.links[site] = found
        return found

    # what is heard

    def _on_report(self, message: Inbound) -> None:
        site = message.subject.split(".")[3]
        report = codec.decode(SiteReport, message.data, f"report of site {site[:64]}")
        if report.site != site:
            raise ValueError(f"report on {message.subject[:120]!r} is of {report.site[:64]!r}")
        link = self.link(site)
        # Now and not at the next tick: a new site waits for its answer.
        link.own(owner(site, self._peers.all) == self._me)
        link.on_report(report, message.reply, self._config)

    def _on_wants(self, message: Inbound) -> None:
        link = self.links.get(message.subject.split(".")[3])
        if link is not None and link.owned:
            link.wants.ask(message)

    def _on_connection(self, made: bool, message: Inbound) -> None:
        if not self.links or b"Leafnode" not in message.data:
            return
        name = codec.decode(_Connection, message.data, "connection event").client.name
        one = self.links.get(name.removeprefix("site-"))
        # A leaf that is called otherwise may be any site's.
        for link in [one] if one is not None else list(self.links.values()):
            link.on_event(made)

    def _on_reconnect(self) -> None:
        # Links may have been made before we were there to hear of it.
        for link in self.links.values():
            link.on_event(True)
        if self.links:
            self._background.spawn(self._read())

    def _on_policy(self, message: Inbound) -> None:
        site = message.subject.rsplit(".", 1)[1]
        if message.data:
            policy = codec.decode(SitePolicy, message.data, f"policy of site {site[:64]}")
            self.link(site).on_policy(policy)
        elif site in self.links:
            self.links[site].on_policy(SitePolicy())

    def _on_record(self, message: Inbound) -> None:
        site = message.subject.rsplit(".", 1)[1]
        if not message.data:
            self._forget(site)
            return
        record = codec.decode(SiteRecord, message.data, f"record of site {site[:64]}")
        if site == HUB:
            log.warning(
                "this is the server of site %s: its coordinators are started with --site %s",
                record.site,
                record.site,
            )
            return
        self.link(site).record = record

    def _on_config(self, message: Inbound) -> None:
        self._config = max(self._config, store.sequence(message))
        if self.links and not self._changed:
            self._changed = True
            self._bus.loop.call_later(0.05, self._tell_config)

    def _on_cancel(self, message: Inbound) -> None:
        """A task that waits for its link is taken out of the queue, as the client does in ours."""
        if not self.links:
            return
        task_id = routes.task_id(message.subject)
        if owner(task_id, self._peers.all) == self._me:
            self._cancels.take(partial(cancels.purge, self._bus, task_id))

    # the inside

    def _elsewhere(self, site: str, agent: str) -> bool:
        return any(agent in one.known.cards for one in self.links.values() if one.site < site)

    def _forget(self, site: str) -> None:
        gone = self.links.pop(site, None)
        if gone is not None:
            self._background.spawn(gone.stop())
            self._on_change()

    def _tell_config(self) -> None:
        self._changed = False
        for link in self.links.values():
            if link.place.connected:
                link.nudge(config=self._config)

    def _on_change(self) -> None:
        places = [one.place for one in self.links.values()]
        for pool in self._view.pools():
            sort(pool, places)
        for place in places:
            for capability in place.capabilities:
                self._view.pool(capability)
            self._puller.open(place.capabilities)
        self._puller.soon()

    async def _read(self) -> None:
        bus, subjects = self._bus, self._bus.subjects
        prefix = subjects.config_keys
        recorded: set[str] = set()
        for key, handler in ((SPILL, self._on_policy), (SITE, self._on_record)):
            last: dict[str, Inbound] = {}
            async for message in store.scan(bus, subjects.config_stream, f"{prefix}{key}*"):
                last[message.headers["Nats-Subject"]] = message
            for subject, message in last.items():
                if "KV-Operation" in message.headers:
                    continue
                recorded.add(subject.rsplit(".", 1)[1])
                try:
                    handler(Inbound(subject, "", message.data, message.block))
                except (FleetError, ValueError) as problem:
                    bus.drop(subject, problem)
        for site, link in list(self.links.items()):
            if link.record is not None and site not in recorded and not link.place.connected:
                self._forget(site)  # while we could not hear of it
        await self._recollect()
        info = await bus.api(f"STREAM.INFO.{subjects.config_stream}")
        self._config = int(info["state"]["last_seq"])

    async def _recollect(self) -> None:
        """Take in the agents of sites that the registry has: a site that is away tells of none, and
        one that is back only of those that it has yet."""
        bus, subjects = self._bus, self._bus.subjects
        agents = list(self._monitor.relayed)
        for start in range(0, len(agents), CARDS):
            keys = [subjects.registry_keys + one for one in agents[start : start + CARDS]]
            for message in await store.lasts(bus, subjects.registry_stream, keys):
                card = registry.read(bus, message)
                if card is not None and card.relay and card.relay == card.site:
                    self.link(card.relay).recollect(card)
        if agents:
            self._on_change()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if not self.links or not self._bus.connected:
                continue
            coordinators = self._peers.all
            interval = self._interval()
            for link in list(self.links.values()):
                link.own(owner(link.site, coordinators) == self._me)
                link.tick(interval)
