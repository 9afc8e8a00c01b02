"""Places work: chooses an agent, forwards, and takes back what is refused."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Final

from bus.connection import Bus
from bus.errors import Disconnected, MessageTooBig
from bus.telemetry import NOBODY, Forwarded, Refused
from bus.transport import Inbound
from bus.wire import headers as h
from coordinator import router
from coordinator.entry import AgentEntry
from coordinator.pool import Pool
from coordinator.settings import CoordinatorSettings
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView
from coordinator.work import Work

log = logging.getLogger("fleetbus.coordinator")

LOWER_SHARE: Final = 8
"""Of so many placements one goes to the lowest waiting priority, so that none starves."""

MAX_SENT_BYTES: Final = 64 * 1024 * 1024
"""Payloads kept in case that they are refused."""

RING_SLACK: Final = 64
"""Forwards remembered of an agent beyond its window."""


class Waiting:
    """Work that waits for room in one pool: by priority, then in order of arrival."""

    __slots__ = ("_picks", "lanes", "pool")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.lanes: tuple[deque[Work], deque[Work], deque[Work]] = (deque(), deque(), deque())
        self._picks = 0

    def __len__(self) -> int:
        a, b, c = self.lanes
        return len(a) + len(b) + len(c)

    def __iter__(self) -> Iterator[Work]:
        for lane in self.lanes:
            yield from lane

    def lane(self) -> deque[Work]:
        """The lane whose first is next; some lane must have one."""
        self._picks += 1
        order = reversed(self.lanes) if self._picks % LOWER_SHARE == 0 else iter(self.lanes)
        return next(lane for lane in order if lane)


class Dispatcher:
    """The middle of the task path. Holds work only while there is no room for it."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        view: FleetView,
        settings: CoordinatorSettings,
        verdicts: Verdicts,
        on_gone: Callable[[AgentEntry], None],
    ) -> None:
        """``on_gone`` is told of an agent that did not listen when it was sent something."""
        self.forwarded = 0
        self.refused = 0
        self._bus = bus
        self._me = me
        self._view = view
        self._settings = settings
        self._verdicts = verdicts
        self._on_gone = on_gone
        self._rng = random.Random()
        self._waiting: dict[Pool, Waiting] = {}
        # Ordered dicts, here and for the rings: the first entry of a dict whose front has been
        # deleted many times is found only by walking over all the holes.
        self._sent: OrderedDict[int, tuple[Work, AgentEntry, float]] = OrderedDict()
        self._holder: dict[int, AgentEntry] = {}
        """Whose ring has a stream sequence."""
        self._sent_bytes = 0
        self._ack_wait = 10.0
        self._number = 0
        self._turn = 0
        self._inbox = ""
        self._lines: dict[str, bytes] = {}
        self.beyond: Callable[[Work, AgentEntry | None], bool] = lambda _, __: False
        """Hands a task over to another side of a link if that is the better place, or if there is
        none here (None); false if it is not."""
        view.in_use = lambda pool: pool in self._waiting

    async def start(self) -> None:
        """Listen for refusals, and for clients that cancel what waits here."""
        self._inbox = f"{self._bus.nc.new_inbox()}."
        await self._bus.listen(f"{self._inbox}*", self._on_refusal)
        await self._bus.listen(self._bus.subjects.all_cancels, self._on_cancel)

    # placing

    def place(self, work: Work) -> None:
        """Forward ``work`` now if there is room for it, else keep it until there is.

        Raises:
            InvalidSelector: its selector cannot be parsed.
        """
        work.pool = self._view.pool(work.capability, work.select)
        if work.pool in self._waiting and not work.session:
            # Others wait already: no overtaking within a priority.
            if not (work.pool.beyond and self.beyond(work, None)):
                self._hold(work)
            self.fill(work.pool)
        else:
            self._try(work)

    def fill(self, pool: Pool) -> None:
        """Room may have come: place what waits in ``pool``."""
        waiting = self._waiting.get(pool)
        if waiting is None:
            return
        skipped: list[Work] = []
        lapsed = time.monotonic() - self._ack_wait
        while pool.room > 0 and len(waiting):
            work = waiting.lane().popleft()
            if work.renewed < lapsed and work.ack:
                # We were away for so long that the broker has given it to another.
                continue
            entry = self._choose(work)
            if entry is None:
                skipped.append(work)
            else:
                self._forward(work, entry)
        for work in reversed(skipped):
            waiting.lanes[work.priority].appendleft(work)
        if not len(waiting):
            del self._waiting[pool]

    def room_came(self, entry: AgentEntry) -> None:
        """An agent has room again, or is new."""
        if not self._waiting:
            return
        # Each pool would take all the room there is: they take turns at being asked first.
        self._turn += 1
        pools = entry.pools
        count = len(pools)
        for index in range(count):
            pool = pools[(self._turn + index) % count]
            if pool in self._waiting:
                self.fill(pool)

    def held(self, capability: str) -> int:
        """Tasks of ``capability`` without a selector that wait here."""
        waiting = self._waiting.get(self._view.pool(capability))
        return len(waiting) if waiting is not None else 0

    def all_held(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())

    def _on_cancel(self, message: Inbound) -> None:
        """The client has written the result and purged the task: forget what waits of it."""
        task_id = ".".join(message.subject.rsplit(".", 2)[1:])
        for waiting in self._waiting.values():
            for lane in waiting.lanes:
                for work in lane:
                    if work.task_id == task_id:
                        lane.remove(work)
                        return

    def _try(self, work: Work) -> None:
        entry = self._choose(work)
        if work.pool.beyond and self.beyond(work, entry):
            return
        if entry is None:
            self._hold(work)
        else:
            self._forward(work, entry)

    def _choose(self, work: Work) -> AgentEntry | None:
        pool = work.pool
        ruled_out = work.ruled_out or ()
        if work.session:
            entry = pool.preferred(work.session)
            if entry is not None and entry.id not in ruled_out:
                return entry
        return router.pick(pool.free.tiers(), work.capability, self._rng, ruled_out)

    def _hold(self, work: Work) -> None:
        pool = work.pool
        if not pool.members and work.reply:
            self._verdicts.no_agent(work)
            return
        waiting = self._waiting.get(pool)
        if waiting is None:
            waiting = self._waiting[pool] = Waiting(pool)
        if work.select and work.ack and len(waiting) >= self._settings.max_held:
            self._verdicts.give_back(work, delay=1.0 if pool.members else 15.0)
            return
        waiting.lanes[work.priority].append(work)

    def _forward(self, work: Work, entry: AgentEntry) -> None:
        self._number = number = self._number + 1
        lines = self._lines.get(work.capability)
        if lines is None:
            lines = h.line(h.CAPABILITY, work.capability) + h.line(h.VIA, self._me)
            self._lines[work.capability] = lines
        if work.ack:
            own = f"Fleet-Task: {work.task_id}\r\nFleet-Ack: {work.ack}\r\n"
            if work.attempt > 1:
                own += f"Fleet-Attempt: {work.attempt}\r\n"
        else:
            own = f"Fleet-Task: {work.task_id}\r\nFleet-Reply: {work.reply}\r\n"
        try:
            self._bus.send(
                self._bus.subjects.dispatch(entry.id),
                work.data,
                f"{self._inbox}{number}",
                h.extend(work.block, lines + own.encode()),
            )
        except Disconnected as problem:
            # Nothing is lost: the ack wait brings it back once the broker is there again.
            log.warning("task %s was not forwarded: %s", work.task_id, problem)
            return
        except MessageTooBig:
            self._verdicts.poison(work, "with the headers that we add it exceeds max_payload")
            return
        now = time.monotonic()
        self._sent[number] = (work, entry, now)
        self._sent_bytes += len(work.data)
        while self._sent_bytes > MAX_SENT_BYTES:
            self._forget(next(iter(self._sent)))
        self.forwarded += 1
        entry.forwarded += 1
        entry.fresh += 1
        entry.sent_at = now
        entry.settle()
        if work.sequence:
            self._remember(work, entry)
        if self._bus.hook is not NOBODY:
            self._bus.hook.on_event(Forwarded(work.capability, entry.id, now - work.since))

    # who has what, as a hint for the day that an agent is lost

    def _remember(self, work: Work, entry: AgentEntry) -> None:
        sequence = work.sequence
        if not work.first:
            earlier = self._holder.get(sequence)
            if earlier is not None:
                earlier.ring.pop(sequence, None)
        ring = entry.ring
        ring[sequence] = work.ack
        self._holder[sequence] = entry
        if len(ring) > entry.window + RING_SLACK:
            oldest, _ = ring.popitem(last=False)
            self._holder.pop(oldest, None)

    def take_back(self, entry: AgentEntry) -> int:
        """An agent is lost: have the broker give out again all that it may hold; how many.

        The broker ignores this for tasks that were acknowledged.
        """
        ring = self.let_go(entry)
        for ack in ring.values():
            with contextlib.suppress(Disconnected):  # the ack wait does the same, later
                self._bus.send(ack, b"-NAK")
        # Calls cannot be redelivered: their callers hear of it now and not at their timeout.
        for number, (work, to, _) in list(self._sent.items()):
            if to is entry:
                self._forget(number)
                if work.reply:
                    self._verdicts.lost(work, entry.id)
        return len(ring)

    def let_go(self, entry: AgentEntry) -> dict[int, str]:
        """An agent has left and handed back what it had: others may have that by now, and a
        word from us would take it from them. Returns what was remembered."""
        ring, entry.ring = entry.ring, OrderedDict()
        for sequence in ring:
            self._holder.pop(sequence, None)
        return ring

    # refusals

    def _on_refusal(self, message: Inbound) -> None:
        number = int(message.subject[len(self._inbox) :])
        sent = self._sent.get(number)
        if sent is None:
            return
        self._forget(number)
        work, entry, _ = sent
        self.refused += 1
        entry.forwarded -= 1
        if work.sequence and entry.ring.pop(work.sequence, None) is not None:
            self._holder.pop(work.sequence, None)
        if message.status == "503":
            reason = "gone"
            entry.standing = "suspect"
            entry.settle()
            self._on_gone(entry)
        else:
            reason = message.headers.get(h.BUSY, "busy")
            if reason == "malformed":
                entry.settle()
                self._verdicts.poison(work, "the agent could not read it")
                return
            if reason in ("draining", "stopped"):
                entry.standing = "draining"
            elif reason == "full":
                # Its next heartbeat, which is on its way, says how much room there is.
                entry.reported = entry.window
            entry.settle()
            if reason == "capability":
                work.rule_out(entry.id)
        self._bus.hook.on_event(Refused(work.capability, entry.id, reason))
        self.place(work)

    def _forget(self, number: int) -> None:
        """A forward will not be refused any more, or the ack wait must cover it if it is."""
        work, entry, _ = self._sent.pop(number)
        entry.fresh -= 1
        self._sent_bytes -= len(work.data)

    # time passes

    def sweep(self, ack_wait: float) -> None:
        """Forget what was not refused in time; renew, expire and hand back what waits.

        ``ack_wait`` is after how many seconds the broker gives a task to another.
        """
        self._ack_wait = ack_wait
        now = time.monotonic()
        old = now - self._settings.refusal_wait
        expired: list[int] = []
        for number, (_, _, at) in self._sent.items():
            if at > old:
                break
            expired.append(number)
        for number in expired:
            self._forget(number)
        wall = time.time()
        for pool, waiting in list(self._waiting.items()):
            for lane in waiting.lanes:
                if not lane:
                    continue
                # Once around, so that nothing is lost from it if the broker cannot be told.
                for _ in range(len(lane)):
                    work = lane.popleft()
                    if work.ack and now - work.renewed > ack_wait:
                        continue  # as in fill
                    if work.deadline and wall >= work.deadline:
                        self._verdicts.expired(work)
                        continue
                    if pool.beyond and self.beyond(work, None):
                        continue
                    lane.append(work)
                    if work.ack and now - work.renewed > ack_wait / 3:
                        self._bus.send(work.ack, b"+WPI")
                        work.renewed = now
                    if work.ruled_out is not None and now - work.since > 1.0:
                        work.ruled_out = None
            self.fill(pool)
            if not len(waiting):
                self._waiting.pop(pool, None)

    def hand_back(self) -> int:
        """Give all that waits back to the broker; how many those were."""
        count = 0
        for waiting in self._waiting.values():
            for work in waiting:
                count += 1
                if work.ack:
                    self._verdicts.give_back(work, delay=0.0)
                else:
                    self._verdicts.stopping(work)
        self._waiting.clear()
        return count

    @property
    def unrefused(self) -> int:
        """Forwards that may still be refused."""
        return len(self._sent)
