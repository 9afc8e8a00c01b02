"""Being there: the registry lease, and heartbeats that carry the load."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent_runtime.intake import Intake
from agent_runtime.load import FEEDBACK, Load
from agent_runtime.usage import Usage
from bus import codec, policy, store
from bus.client import records
from bus.connection import Bus
from bus.errors import BusError, DuplicateAgent
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.card import Card
from bus.wire.heartbeat import FleetPolicy, Heartbeat

log = logging.getLogger("fleetbus.agent")

JITTER: Final = 0.2
"""Share of the interval by which each heartbeat is moved: herds must not form."""

RETURN: Final = (0.05, 0.15)
"""After what share of the interval agents report back after a reconnect, at the earliest and the
latest. A large fleet must not fall upon a server that has just started, nor report before the
coordinators are back: whom they miss then, they hear an interval later."""

LEAVE_TIMEOUT: Final = 3.0
"""Seconds for giving up the lease: without a server the process must end all the same."""

STALL: Final = 1.0
"""Seconds that the event loop may come late before that is worth a warning."""

TWIN_TIMEOUT: Final = 2.0
"""Seconds that another process with our id has to say that it is alive."""

SYNCED: Final = 5000
"""Agents of a large fleet that report a second when something happens to all of them at once."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What each heartbeat says of the configuration, made when it changes."""

    config: str = ""
    commit: str = ""
    overrides: int = 0
    rejected: str = ""
    versions: dict[str, str] = field(default_factory=dict)


class Presence:
    """Registers one agent and reports its load until it leaves."""

    def __init__(
        self, bus: Bus, load: Load, intake: Intake, card: Card, on_usurped: Callable[[str], None]
    ) -> None:
        """``on_usurped`` is told if another process takes over the agent's id."""
        self.card = card
        self.policy = FleetPolicy()
        self.standing = Standing()
        self._bus = bus
        self._load = load
        self._intake = intake
        self._on_usurped = on_usurped
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random()
        self._seq = 0
        self._revision = 0
        self._due: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        self._extending: asyncio.TimerHandle | None = None
        self._back: asyncio.TimerHandle | None = None
        self._last_beat = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._renew = asyncio.Event()
        self._lease = 0
        """Seconds; of the entry in the registry."""
        self._away = False
        """The connection was gone since the policy was read."""
        self._leaving = False
        self._missed = False
        """We were taken for dead, and have not yet said that we are not."""
        self._usage = Usage()

    async def join(self) -> None:
        """Register, then send the first heartbeat.

        Raises:
            BusError: the registry cannot be written.
        """
        subjects = self._bus.subjects
        await self._bus.listen(subjects.config("policy"), self._on_policy)
        self._adopt(await policy.read(self._bus))
        # First, to hear of another process that takes the id at the same time.
        await self._bus.listen(subjects.advert(self.card.agent), self._on_advert)
        await self._register()
        await self.tell("joined")
        self._bus.reconnected.append(self._on_reconnect)
        self._keeper = asyncio.create_task(self._keep_lease(), name="lease")
        self._extend()
        self.beat()

    async def leave(self) -> None:
        """Delete the registry entry and say so. Errors are logged: leaving goes on."""
        self._leaving = True
        self._bus.reconnected.remove(self._on_reconnect)
        await self.stop()
        self._heartbeat(next_in=0.0)
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self._delete()
                await self.tell("left")
        except (BusError, TimeoutError) as problem:
            log.warning("the lease will run out by itself; it could not be given up: %r", problem)

    async def stop(self) -> None:
        """End heartbeats and the lease's upkeep."""
        # First: from now on ``poke`` plans no heartbeat.
        keeper, self._keeper = self._keeper, None
        for timer in (self._due, self._extending, self._back):
            if timer is not None:
                timer.cancel()
        self._due = self._extending = self._back = None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def announce(self, card: Card) -> None:
        """Advertise a changed card."""
        self.card = card
        await self._register()
        self.poke()

    async def say(self, kind: str) -> None:
        """Publish an event about this agent, and report the load at once."""
        self.poke()
        await self.tell(kind)

    async def tell(self, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Publish an event about this agent, with ``data``.

        Raises:
            BusError, TimeoutError: it was not stored.
        """
        agent = self.card.agent
        # Of these there is one an incarnation, whoever says it.
        once = f"{kind}:{agent}:{self.card.incarnation}" if kind in ("joined", "left") else ""
        about = {"site": self.card.site, **(data or {})}
        await records.event(self._bus, kind, agent, by=agent, data=about, unique=once)

    @property
    def spread(self) -> float:
        """Seconds in which all of the fleet may do something that each has a reason for now."""
        return min(self.policy.interval, self.policy.agents / SYNCED)

    def poke(self) -> None:
        """The load changed enough to matter: report it, at most every ``FEEDBACK`` seconds."""
        if self._keeper is None:
            return
        now = self._loop.time()
        at = max(now, self._last_beat + FEEDBACK)
        if self._due is not None:
            if self._due_at <= at:
                return
            self._due.cancel()
        self._due_at = at
        if at <= now:
            self._due = None
            self.beat()
        else:
            self._due = self._loop.call_at(at, self.beat)

    def poke_spread(self) -> None:
        """Something has changed for all agents at once: report it soon, but not with them."""
        if self._keeper is None or self._leaving:
            return
        soon = self._loop.time() + self._rng.uniform(0.0, self.spread)
        at = max(soon, self._last_beat + FEEDBACK)
        if self._due is None or self._due_at > at:
            if self._due is not None:
                self._due.cancel()
            self._due_at = at
            self._due = self._loop.call_at(at, self.beat)

    def beat(self) -> None:
        """Send a heartbeat, and plan the next."""
        if self._due is not None:
            self._due.cancel()
        delay = self.policy.interval * self._rng.uniform(1 - JITTER, 1 + JITTER)
        self._last_beat = self._loop.time()
        self._due_at = self._last_beat + delay
        self._due = self._loop.call_at(self._due_at, self.beat)
        self._heartbeat(next_in=delay)

    # the inside

    def _heartbeat(self, next_in: float) -> None:
        load = self._load
        load.reported(time.monotonic())
        self._seq += 1
        standing = self.standing
        cpu, rss = self._usage.measure()
        beat = Heartbeat(
            agent=self.card.agent,
            incarnation=self.card.incarnation,
            seq=self._seq,
            site=self.card.site,
            state="stopped" if next_in == 0.0 else self._intake.state,
            slots=load.slots,
            window=load.window,
            running=load.running,
            queued=load.queued,
            done=load.done,
            failed=load.failed,
            accepted=load.accepted,
            service_ms={name: round(ms, 4) for name, ms in load.service_ms.items()},
            failing={name: round(times, 2) for name, times in load.failing.items()},
            cpu=cpu,
            rss=rss,
            config=standing.config,
            commit=standing.commit,
            overrides=standing.overrides,
            rejected=standing.rejected,
            versions=standing.versions,
            version=self.card.runtime,
            next_in=next_in,
            interval=self.policy.interval,
            sent_ms=time.time_ns() // 1_000_000,
        )
        subject = self._bus.subjects.heartbeat(self.card.site, self.card.agent)
        # While disconnected a heartbeat would only be stale when it is sent at last.
        if self._bus.connected:
            with contextlib.suppress(BusError):  # the connection's own log says why
                self._bus.send(subject, codec.encode(beat))

    async def check_twin(self) -> None:
        """Look whether another process has this id; to be called before listening as it.

        Raises:
            DuplicateAgent: one has, and answers.
            BusError, TimeoutError: the registry could not be read.
        """
        from bus.client import registry

        other = await registry.card(self._bus, self.card.agent)
        if other is None or other.incarnation == self.card.incarnation:
            return
        probe = h.encode([(h.PROBE, self.card.incarnation)])
        holder = f"process {other.pid} on {other.host}"
        try:
            answer = await self._bus.request(
                self._bus.subjects.dispatch(self.card.agent), block=probe, timeout=TWIN_TIMEOUT
            )
        except TimeoutError:
            # Stopped, or cut off: when it comes back it sees our entry and gives way.
            log.warning("agent id %s: %s does not answer and is replaced", self.card.agent, holder)
            return
        if answer.status != "503":
            raise DuplicateAgent(self.card.agent, holder)

    async def _register(self) -> None:
        subjects = self._bus.subjects
        lease = self.policy.lease
        ack = await store.publish(
            self._bus,
            subjects.registry_keys + self.card.agent,
            codec.encode(self.card),
            h.encode([(h.TTL, f"{lease}s")]),
        )
        self._revision = int(ack["seq"])
        self._lease = lease

    async def _delete(self) -> None:
        from bus.client import registry

        # Another process may have taken the id over; its entry stays.
        await registry.remove(self._bus, self.card.agent, self._revision)

    async def _keep_lease(self) -> None:
        while True:
            # The policy may have become longer while the entry was stored.
            third = min(self._lease, self.policy.lease) / 3 * self._rng.uniform(1 - JITTER, 1.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(third):
                    await self._renew.wait()
            # Before it registers: what is asked for meanwhile is done next.
            self._renew.clear()
            try:
                begun = time.monotonic()
                await self._register()
                self._load.took(time.monotonic() - begun)
                if self._missed:
                    self._missed = False
                    await self.tell("returned")
            except (BusError, TimeoutError) as problem:
                log.warning("the lease was not renewed, trying on: %s", problem)
            if self._away:
                try:
                    self._adopt(await policy.read(self._bus))
                    self._away = False
                except (BusError, TimeoutError) as problem:
                    log.warning("the fleet policy was not read again, trying on: %s", problem)

    def _extend(self) -> None:
        """Keep the broker from giving out again what is held, now and in good time."""
        if self._extending is not None:
            late = self._loop.time() - self._extending.when()
            self._extending.cancel()
            if late > STALL:
                log.warning(
                    "the event loop stood still for %.1f s: an async handler that blocks keeps "
                    "the whole agent silent; make it a plain function, which runs in a thread",
                    late,
                )
        self._extending = self._loop.call_later(self._intake.ack_wait / 6, self._extend)
        self._intake.extend()

    def _adopt(self, new: FleetPolicy) -> None:
        self.policy = new
        if new.ack_wait == self._intake.ack_wait:
            return
        if self._extending is not None:
            # By the old one too: it says whether this process stood still.
            self._intake.extend()
        self._intake.ack_wait = new.ack_wait
        if self._extending is not None:
            self._extend()

    def _on_policy(self, message: Inbound) -> None:
        if message.data:
            self._adopt(codec.decode(FleetPolicy, message.data, "fleet policy"))

    def _on_advert(self, message: Inbound) -> None:
        if self._leaving:
            return
        if not message.data:
            # We were taken for dead. Saying otherwise at once is cheaper than being avoided.
            self._missed = True
            self._renew.set()
            self.poke()
            return
        card = codec.decode(Card, message.data, "advert")
        # The later one keeps the id; of two in the same millisecond, the same one for both.
        theirs = (card.started_ms, card.incarnation)
        if theirs > (self.card.started_ms, self.card.incarnation):
            self._on_usurped(f"process {card.pid} on {card.host}")

    def _on_reconnect(self) -> None:
        if self._back is not None:
            self._back.cancel()
        delay = self.policy.interval * self._rng.uniform(*RETURN)
        self._back = self._loop.call_later(delay, self._report_back)

    def _report_back(self) -> None:
        self._back = None
        self._away = True
        self._renew.set()
        self.beat()
