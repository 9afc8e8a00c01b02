"""A coordinator: the parts, wired. It keeps nothing that cannot be read from the bus again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from bus import codec, policy, store, topology
from bus.config import Layers
from bus.connection import Bus
from bus.errors import BusError
from bus.settings import BusSettings
from bus.settings import load as load_bus
from bus.subjects import POLICY, Subjects, token
from bus.telemetry import Hook
from bus.topology import TopologySettings
from bus.wire.heartbeat import FleetPolicy
from coordinator.calls import CallRouter
from coordinator.dispatcher import Dispatcher
from coordinator.dues import Dues
from coordinator.entry import AgentEntry
from coordinator.monitor import Monitor
from coordinator.parity import Parity
from coordinator.peers import Peers
from coordinator.puller import Puller
from coordinator.settings import CoordinatorSettings, load
from coordinator.sites.hub import HubSites
from coordinator.sites.uplink import Uplink
from coordinator.things.bridge import Things
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView

log = logging.getLogger("fleetbus.coordinator")

PARTING: Final = 3.0
"""Seconds for handing back what waits: without a server the process must end all the same."""

REFUSAL_MOMENT: Final = 0.1

SWEEP: Final = 0.25
"""Seconds between looks at what waits."""

BACK: Final = 0.5
"""Seconds of the longest reconnect delay, at most. Agents report back once: the few who listen
must be there first."""

REFUSED: Final = 10.0
"""Seconds until the fleet policy is written again after that failed."""

RESCALE: Final = 0.2
"""Share by which the interval must change before everybody is told of a new one."""


class Coordinator:
    """Routes tasks and calls of one fleet. Run one or many.

    ::

        async with Coordinator.connect("nats://127.0.0.1:4222", fleet="dev"):
            await asyncio.Event().wait()
    """

    def __init__(
        self,
        bus_settings: BusSettings,
        settings: CoordinatorSettings,
        topology_settings: TopologySettings,
        name: str | None = None,
        hook: Hook | None = None,
        site: str = "",
    ) -> None:
        """``site``: the site that this coordinator's server is the leaf node of; empty at the
        hub."""
        self.id = token("coordinator", name or f"c-{os.urandom(5).hex()}")
        self.settings = settings
        self.topology = topology_settings
        shown = bus_settings.name or Subjects.connection_name("coordinator", self.id, "0")
        back = min(bus_settings.reconnect_max, BACK)
        self.bus = Bus(msgspec.structs.replace(bus_settings, name=shown, reconnect_max=back), hook)
        self.view = FleetView(self.id)
        self.parity = Parity(self.bus, self.view)
        self.verdicts = Verdicts(self.bus)
        self.dispatcher = Dispatcher(
            self.bus, self.id, self.view, settings, self.verdicts, self._on_gone
        )
        self.peers = Peers(self.bus, self.id, self._describe)
        self.puller = Puller(
            self.bus,
            self.view,
            self.dispatcher,
            self.verdicts,
            settings,
            lambda: self.peers.count,
        )
        self.monitor = Monitor(
            self.bus,
            self.id,
            self.view,
            self.dispatcher,
            settings,
            self._on_agent,
            self.puller.soon,
            calm=bus_settings.reconnect_max + 1.0,
            interval=lambda: self._policy.interval,
        )
        self.dues = Dues(self.bus)
        self.calls = CallRouter(self.bus, self.view, self.dispatcher, self.verdicts)
        self.things = Things(
            self.bus,
            self.id,
            self.view,
            lambda: self._policy,
            lambda: self.parity.layers if self.parity.known else Layers(),
            self.peers.alive,
        )
        parts = (self.view, self.peers, self.puller, self.dispatcher, self.verdicts)
        self.sites: HubSites | Uplink = (
            Uplink(self.bus, self.id, site, *parts, lambda: self._policy.interval)
            if site
            else HubSites(self.bus, self.id, self.monitor, *parts, lambda: self._policy.interval)
        )
        self.ready = False
        self._policy = FleetPolicy()
        self._rescale_at = 0.0
        """When the policy may be written again, on the monotonic clock."""
        self._upkeep: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    @classmethod
    def connect(
        cls,
        url: str | None = None,
        fleet: str | None = None,
        *,
        name: str | None = None,
        hook: Hook | None = None,
        settings: CoordinatorSettings | None = None,
        topology_settings: TopologySettings | None = None,
        site: str = "",
        **bus_settings: Any,
    ) -> Self:
        """A coordinator to be entered with ``async with``. Settings as for ``bus.connect``,
        and the sections ``coordinator`` and ``topology``. With ``site`` it is one of that site,
        on the site's own server.

        Raises:
            SettingsError, InvalidName: at once. ``ConnectError``, ``FeatureMissing`` and
                ``TopologyConflict`` come from entering.
        """
        from bus.settings import read

        return cls(
            load_bus({"url": url, "fleet": fleet, **bus_settings}),
            settings or load(),
            topology_settings or read(TopologySettings, "topology")[0],
            name,
            hook,
            site,
        )

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.bus)
            await topology.ensure(self.bus, self.topology)
            self._policy = await policy.read(self.bus)
            self.puller.ack_wait = self.topology.ack_wait
            await self.dispatcher.start()
            await self.puller.start()
            await self.dues.start(self.topology.ack_wait)
            await self.peers.start()
            # Before the monitor, which may ask whether things live, and the answer is here.
            await self.things.start(self.topology.ack_wait)
            await self.monitor.start()
            await self.parity.start()
            await self.calls.start()
            await self.sites.start()
            await self.bus.flush()
            await self._rescale()
            self._upkeep = asyncio.create_task(self._keep_up(), name="coordinator-upkeep")
            self._stack = stack.pop_all()
        self.puller.soon()
        self.ready = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop intake, let refusals come in, hand back what waits, say goodbye."""
        self.ready = False
        try:
            async with asyncio.timeout(self.settings.refusal_wait * 2 + PARTING):
                await self._part()
        except (BusError, TimeoutError) as problem:
            log.warning("stopping without the broker: %r", problem)
        finally:
            await self._leave_sites()
            await self.peers.stop()
            await self.monitor.stop()
            # After the monitor, which would take things for lost that nobody answers for.
            await self._leave_things()
            await self.parity.stop()
            if self._upkeep is not None:
                self._upkeep.cancel()
                await asyncio.gather(self._upkeep, return_exceptions=True)
            await self._stack.aclose()

    # the inside

    async def _part(self) -> None:
        await self.calls.stop()
        await self.dues.stop()
        await self.puller.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(await self._refusals_take()):
                # What an agent has reported as taken will not be refused.
                while self.dispatcher.unrefused and self.view.under_way:
                    self.dispatcher.sweep(self.topology.ack_wait)
                    await asyncio.sleep(0.05)
        await self.sites.handover.settled()
        self.dispatcher.hand_back()
        await self.verdicts.stop()

    async def _leave_sites(self) -> None:
        try:
            async with asyncio.timeout(PARTING):
                await self.sites.stop()
        except (BusError, TimeoutError) as problem:
            log.warning("leaving sites without the broker: %r", problem)

    async def _leave_things(self) -> None:
        try:
            async with asyncio.timeout(PARTING):
                await self.things.stop()
        except (BusError, TimeoutError) as problem:
            log.warning("leaving things without the broker: %r", problem)

    async def _refusals_take(self) -> float:
        """Seconds in which what was forwarded last is refused, if it is: two hops each way,
        and a moment for a busy agent. The ack wait covers what comes later."""
        begun = time.monotonic()
        await self.bus.flush()
        round_trip = time.monotonic() - begun
        return min(self.settings.refusal_wait, REFUSAL_MOMENT + 4 * round_trip)

    def _on_agent(self, entry: AgentEntry) -> None:
        self.puller.open(entry.card.capabilities)
        self.puller.soon()
        self.things.on_agent(entry.card)

    def _on_gone(self, entry: Any) -> None:
        self.monitor.suspect(entry)

    def _describe(self) -> dict[str, int]:
        return {
            "agents": len(self.view),
            "held": self.dispatcher.all_held(),
            "forwarded": self.dispatcher.forwarded,
        }

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            if not self.bus.connected:
                continue
            try:
                self.dispatcher.sweep(self.topology.ack_wait)
            except BusError as problem:
                log.warning("what waits was not looked after, trying again: %s", problem)
            # Those too whose consumers could not be created at the first try.
            self.puller.open(self.view.capabilities())
            self.puller.soon()
            now = time.monotonic()
            if now >= self._rescale_at:
                try:
                    await self._rescale()
                except (BusError, TimeoutError) as problem:
                    log.warning("the fleet policy was not updated: %s", problem)
                    self._rescale_at = now + REFUSED

    async def _rescale(self) -> None:
        """Compute the policy for the fleet's size; write it if that changes it."""
        s = self.settings
        interval, lease = policy.scaled(len(self.view), s.min_interval, s.max_rate)
        wanted = FleetPolicy(interval, lease, s.grace, self.topology.ack_wait, len(self.view))
        # Compared with what was written last, or a fleet that grows slowly would never be told.
        old = self._policy
        if (
            math.isclose(old.interval, interval, rel_tol=RESCALE)
            and old.grace == wanted.grace
            and old.ack_wait == wanted.ack_wait
        ):
            return
        key = self.bus.subjects.config_keys + POLICY
        await store.publish(self.bus, key, codec.encode(wanted))
        self._policy = wanted
