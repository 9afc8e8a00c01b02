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
from bus.connection import ApiError, Bus
from bus.errors import BusError, DecodeError
from bus.selectors import Selector
from bus.subjects import HEAD, LAYERS
from bus.transport import Inbound

log = logging.getLogger("fleetbus.agent")

RETURN: Final = (0.05, 0.5)
"""After what share of the heartbeat's interval an agent fetches after a reconnect, at the
earliest and the latest: a large fleet must not fall upon a server that has just started."""

HEADLESS: Final = 2.0
"""Seconds that writes of a batch may wait for their head before the agent looks itself."""

AGAIN: Final = 2.0
"""Seconds until an answer that is older than what was heard is asked for once more; then twice
as many, and so on."""

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
        self._old: Layers | None = None
        """What counted in a bucket that is lost, until something counts in the new one."""
        self._told: tuple[str, str] | None = None
        """Hash and commit that were told last."""
        self._heard: list[Change] | None = None
        """What came while a fetch was under way."""
        self._doubts = 0
        """So many answers in a row were older than what was heard."""
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
        believed = await self._fetch()
        while not believed:
            await asyncio.sleep(self._pause())
            believed = await self._fetch()
        self._bus.reconnected.append(self._on_reconnect)
        self._worker = asyncio.create_task(self._work(), name="configuration-feed")
        target = self._target()
        self._told = target.effective.hash, target.commit
        return target

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
            self._tell(self._target())

    # the inside

    def _target(self) -> Target:
        return Target(self._made, self._layers.commit)

    def _tell(self, target: Target) -> None:
        self._told = target.effective.hash, target.commit
        self._on_target(target)

    @property
    def _layers(self) -> Layers:
        return self.followed.layers if self._old is None else self._old

    def _make(self) -> bool:
        """Put the layers together; whether they make something else than before."""
        before = self._made.hash
        self._made = self._effective(self._layers)
        self._applying = frozenset(one.name for one in self._made.layers)
        return self._made.hash != before

    def _on_message(self, message: Inbound) -> None:
        change = config.read(self._bus, message)
        if change.problem:
            self._bus.drop(message.subject, DecodeError(change.key, change.problem))
        if self._heard is not None:
            self._heard.append(change)
        odd = self.followed.contradicts(change)
        self._took(self.followed.take(change))
        if odd and self._due is None:
            self._plan(_RNG.uniform(0.0, self._spread()[1]))
        if self.followed.staged and self._headless is None:
            wait = HEADLESS + _RNG.uniform(0.0, self._spread()[1])
            self._headless = self._loop.call_later(wait, self._look)

    def _took(self, taken: Taken) -> None:
        if not (taken.layers or taken.head):
            return
        first, self._old = self._old is not None, None
        if first or any(self._matters(name) for name in taken.layers):
            self._make()
            self._tell(self._target())
        elif taken.head:
            self._tell(self._target())

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
            try:
                believed = await self._fetch()
            except (BusError, TimeoutError) as problem:
                log.warning("%s: the configuration was not fetched: %s", self._agent, problem)
                self._plan(full_jitter(tries, 1.0, LONGEST_PAUSE, _RNG) + 0.1)
                tries += 1
                continue
            tries = 0
            if not believed:
                self._plan(self._pause())
                continue
            target = self._target()
            # Not with what was known before the fetch: more may have been told meanwhile.
            if (target.effective.hash, target.commit) != self._told:
                self._tell(target)

    def _pause(self) -> float:
        return float(min(AGAIN * 2 ** min(self._doubts - 1, 10), LONGEST_PAUSE))

    async def _fetch(self) -> bool:
        """Ask for all that matters; False if the answer is not to be believed."""
        followed = self.followed
        known = Followed(revisions=dict(followed.revisions))
        there = {*followed.ignored, HEAD, *(LAYERS + name for name in followed.stored)}
        heard = self._heard = []
        self.fetches += 1
        try:
            fetched = (await config.of_agent(self._bus, self._agent)).followed
            # Marks of deleted layers are cleared away in the end, and nobody misses them.
            late = [
                key for key in fetched.behind(known) if key in there or key in fetched.revisions
            ]
            if late and not await self._lost(max(late, key=known.revisions.__getitem__), known):
                return False
        finally:
            self._heard = None
        self._doubts = 0
        for change in heard:
            fetched.take(change)
        if fetched.stored or fetched.head is not None:
            self._old = None
        elif late:
            self._old = self._layers
        self.followed = fetched
        self._make()
        return True

    async def _lost(self, key: str, known: Followed) -> bool:
        """Whether the write of ``key`` that is ``known`` is not in the bucket any more, although
        the server has answered without it.

        Any replica may have given that answer, and one that lags knows neither the write nor
        that it lags. So it is doubted once, and then the leader is asked, which alone answers
        this request. Sequences of the stream would not do: a new bucket overtakes them.
        """
        self._doubts += 1
        if self._doubts == 1:
            return False
        question = {"last_by_subj": self._bus.subjects.config_keys + key}
        try:
            answer = await self._bus.api(
                f"STREAM.MSG.GET.{self._bus.subjects.config_stream}", question
            )
        except ApiError as error:
            if error.code != ApiError.NO_MESSAGE:
                raise
            return True
        if int(answer["message"]["seq"]) < known.revisions[key]:
            return True
        if self._doubts == 2:
            log.warning("%s: a replica of the configuration lags; it is asked again", self._agent)
        return False
