"""One agent's configuration, wired to its bus: from the layers to what the fleet sees."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, Final

from agent_runtime.config_feed import ConfigFeed
from agent_runtime.configuration import Configuration
from agent_runtime.presence import Standing
from bus.config.layers import Effective, Layers
from bus.errors import BusError
from bus.selectors import Selector
from bus.wire.config import ConfigReport

if TYPE_CHECKING:
    from agent_runtime.runtime import Runtime

log = logging.getLogger("fleetbus.agent")

COMMIT_DIGITS: Final = 12
"""Of a commit, in heartbeats."""

UNTOLD: Final = 100
"""Events that wait to be published; the heartbeat says how things are all the same."""


class Configured:
    """Follows, applies and reports the configuration of one running agent."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        agent = runtime.agent
        self.current = Configuration(agent.id, agent.declared, self.report_soon, self._on_event)
        self.feed = ConfigFeed(
            runtime.bus,
            agent.id,
            self._effective,
            self._matches,
            lambda: (runtime.presence.policy.interval, runtime.presence.spread),
            self.current.want,
        )
        self._events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(UNTOLD)
        self._teller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fetch and apply the first; good or not, the agent may join then.

        Raises:
            TopologyMissing, TimeoutError, BusError: it could not be fetched.
        """
        await self.current.start(await self.feed.start())

    def tell(self) -> None:
        """The agent has joined: tell the fleet what has happened, and what will."""
        self._teller = asyncio.create_task(self._tell(), name="configuration-events")

    async def stop(self) -> None:
        """Change nothing more. The second call does nothing."""
        await self.feed.stop()
        await self.current.stop()
        teller, self._teller = self._teller, None
        if teller is not None:
            teller.cancel()
            await asyncio.gather(teller, return_exceptions=True)

    def reconsider(self) -> None:
        """The agent's capabilities have changed."""
        self.report_soon()
        self.feed.reconsider()

    def report(self) -> ConfigReport:
        """What the command ``config`` answers."""
        return self.current.report(self._versions())

    def report_soon(self) -> None:
        """Work out what heartbeats say, and send one within the time that the fleet needs."""
        runtime = self._runtime
        current, rejection = self.current.in_force, self.current.rejection
        runtime.intake.wait(current is None)
        runtime.presence.standing = Standing(
            config="" if current is None else current.hash,
            commit="" if current is None else current.target.commit[:COMMIT_DIGITS],
            overrides=0 if current is None else len(current.overrides),
            rejected="" if rejection is None else rejection.hash,
            versions=self._versions(),
        )
        runtime.presence.poke_spread()

    # the inside

    def _versions(self) -> dict[str, str]:
        return {one.name: one.version for one in self._runtime.offers.values()}

    def _effective(self, layers: Layers) -> Effective:
        agent = self._runtime.agent
        return layers.of(agent.id, agent.site, agent.labels, self._runtime.offers)

    def _matches(self, selector: Selector) -> bool:
        agent = self._runtime.agent
        return selector.matches(agent.id, agent.site, agent.labels, self._runtime.offers)

    def _on_event(self, kind: str, data: dict[str, Any]) -> None:
        try:
            self._events.put_nowait((kind, data))
        except asyncio.QueueFull:
            log.warning("%s: event %s is not told", self._runtime.agent.id, kind)

    async def _tell(self) -> None:
        while True:
            kind, data = await self._events.get()
            # What one agent rejects others may, too, and each event is stored.
            await asyncio.sleep(random.uniform(0.0, self._runtime.presence.spread))
            try:
                await self._runtime.presence.tell(kind, data)
            except (BusError, TimeoutError) as problem:
                log.warning("event %s was not stored: %s", kind, problem)
