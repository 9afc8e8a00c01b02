"""Brings what the layers on the bus make of one agent: heard when they change, fetched when
something may have been missed. No consumer and no watcher: a fleet has ten thousand of these."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from agent_runtime.configuration import Target
from bus.backoff import full_jitter
from bus.client import config
from bus.config.changes import Change
from bus.config.followed import Followed, Taken
from bus.config.layers import Effective, Layers
from bus.connection import Bus
from bus.errors import BusError, DecodeError
from bus.selectors import Selector
from bus.transport import Inbound

log = logging.getLogger("fleetbus.agent")

RETURN: Final = (0.05, 0.5)
"""After what share of the heartbeat's interval an agent fetches after a reconnect, at the
earliest and the latest: a large fleet must not fall upon a server that has just started."""

HEADLESS: Final = 2.0
"""Seconds that writes of a batch may wait for their head before the agent looks itself."""

AGAIN: Final = 2.0
"""Seconds until an answer that is older than what was heard is asked for once more."""

LONGEST_PAUSE: Final = 10.0
"""Seconds between two tries to fetch."""

_RNG: Final = random.Random()


class ConfigFeed:
    """Follows the layers that matter to one agent.

    Args:
        agent: its id.
        effective: what some layers make of the agent as it is.
        matches: whether a selector means it.
        spread: seconds of a heartbeat's interval, and in which all agents together may do
            something at once.
        on_target: told of what should be in force.
    """

    def __init__(
        self,
        bus: Bus,
        agent: str,
        effective: Callable[[Layers], Effective],
        matches: Callable[[Selector], bool],
        spread: Callable[[], tuple[float, float]],
        on_target: Callable[[Target], None],
    ) -> None:
        self.followed = Followed()
        self.fetches = 0
        """How often it has asked the server."""
        self._bus = bus
        self._agent = agent
        self._effective = effective
        self._matches = matches
        self._spread = spread
        self._on_target = on_target
        self._made = effective(Layers())
        self._applying: frozenset[str] = frozenset()
        self._heard: list[Change] | None = None
        """What came while a fetch was under way."""
        self._doubted = False
        """The last answer was older than what was heard."""
        self._need = asyncio.Event()
        self._due: asyncio.TimerHandle | None = None
        self._headless: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._worker: asyncio.Task[None] | None = None

    async def start(self) -> Target:
        """Listen, then fetch; what should be in force.

        Raises:
            TopologyMissing, TimeoutError, BusError: it could not be fetched.
        """
        subjects = self._bus.subjects
        for key in config.keys(self._agent):
            await self._bus.listen(subjects.config(key), self._on_message)
        # What is written from now on is heard, what was before is fetched.
        await self._bus.flush()
        await self._fetch()
        while self._doubted:
            await asyncio.sleep(AGAIN)
            await self._fetch()
        self._bus.reconnected.append(self._on_reconnect)
        self._worker = asyncio.create_task(self._work(), name="configuration-feed")
        return self._target()

    async def stop(self) -> None:
        """Follow no more."""
        for timer in (self._due, self._headless):
            if timer is not None:
                timer.cancel()
        worker, self._worker = self._worker, None
        if worker is not None:
            self._bus.reconnected.remove(self._on_reconnect)
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)

    def reconsider(self) -> None:
        """The agent's capabilities have changed, and selectors may ask for them."""
        if self._make():
            self._on_target(self._target())

    # the inside

    def _target(self) -> Target:
        return Target(self._made, "" if self.followed.head is None else self.followed.head.commit)

    def _make(self) -> bool:
        """Put the layers together; whether they make something else than before."""
        before = self._made.hash
        self._made = self._effective(self.followed.layers)
        self._applying = frozenset(one.name for one in self._made.layers)
        return self._made.hash != before

    def _on_message(self, message: Inbound) -> None:
        change = config.read(self._bus, message)
        if change.problem:
            self._bus.drop(message.subject, DecodeError(change.key, change.problem))
        if self._heard is not None:
            self._heard.append(change)
        self._took(self.followed.take(change))
        if self.followed.staged and self._headless is None:
            wait = HEADLESS + _RNG.uniform(0.0, self._spread()[1])
            self._headless = self._loop.call_later(wait, self._look)

    def _took(self, taken: Taken) -> None:
        if any(self._matters(name) for name in taken.layers):
            self._make()
            self._on_target(self._target())
        elif taken.head:
            self._on_target(self._target())

    def _matters(self, name: str) -> bool:
        stored = self.followed.stored.get(name)
        return name in self._applying or (stored is not None and self._matches(stored.selector))

    def _look(self) -> None:
        self._headless = None
        if self.followed.staged:
            self._plan(0.0)

    def _on_reconnect(self) -> None:
        interval, _ = self._spread()
        self._plan(interval * _RNG.uniform(*RETURN))

    def _plan(self, delay: float) -> None:
        """Fetch after ``delay`` seconds, or earlier if that was planned."""
        at = self._loop.time() + delay
        if self._due is not None:
            if self._due.when() <= at:
                return
            self._due.cancel()
        self._due = self._loop.call_at(at, self._begin)

    def _begin(self) -> None:
        self._due = None
        self._need.set()

    async def _work(self) -> None:
        tries = 0
        while True:
            await self._need.wait()
            self._need.clear()
            if not self._bus.connected:
                continue  # the reconnect plans another
            before = self._target()
            try:
                await self._fetch()
            except (BusError, TimeoutError) as problem:
                log.warning("%s: the configuration was not fetched: %s", self._agent, problem)
                self._plan(full_jitter(tries, 1.0, LONGEST_PAUSE, _RNG) + 0.1)
                tries += 1
                continue
            tries = 0
            after = self._target()
            if (after.effective.hash, after.commit) != (before.effective.hash, before.commit):
                self._on_target(after)

    async def _fetch(self) -> None:
        known = Followed(revisions=dict(self.followed.revisions))
        self._heard = []
        self.fetches += 1
        try:
            state = await config.of_agent(self._bus, self._agent)
        finally:
            heard, self._heard = self._heard, None
        fetched = state.followed
        if fetched.behind(known) and not self._doubted:
            # Once more, before something that was heard is taken back.
            self._doubted = True
            self._plan(AGAIN)
            return
        self._doubted = False
        for change in heard:
            fetched.take(change)
        self.followed = fetched
        self._make()
