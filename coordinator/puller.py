"""Orders tasks from the broker: only as many as the fleet has free room for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from bus import acks, codec, consumers
from bus.background import Background
from bus.connection import Bus
from bus.errors import DecodeError, Disconnected, FleetError
from bus.stall import Stall
from bus.subjects import PRIORITIES, TASK_ID
from bus.topology import SECOND
from bus.transport import Inbound
from coordinator.dispatcher import Dispatcher
from coordinator.settings import CoordinatorSettings
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView
from coordinator.work import Work

log = logging.getLogger("fleetbus.coordinator")

SHARE: Final = 1 / 8
"""Of the free room, what a lower priority gets while a higher one has a backlog."""

MAX_CREDIT: Final = 64.0
"""A lane with nothing to give must not save up for a burst."""

CATCH_UP: Final = 0.1
"""Seconds in which a process that was stopped reads what has come meanwhile."""

RENEW: Final = 0.5
"""A new order is placed when less than this share of what is wanted is on order."""

SLACK: Final = 2.0
"""Seconds past its expiry after which an order counts as forgotten by the server."""


class Lane:
    """One capability and priority: one consumer."""

    __slots__ = (
        "asked",
        "backlog",
        "capability",
        "credit",
        "highest",
        "next_subject",
        "overdue",
        "priority",
        "retry_at",
    )

    def __init__(self, capability: str, priority: int, next_subject: str) -> None:
        self.capability = capability
        self.priority = priority
        self.next_subject = next_subject
        self.asked = 0
        """Tasks on order."""
        self.overdue = 0.0
        self.backlog = 0
        """Tasks that wait in the consumer, by its last delivery."""
        self.highest = 0
        """Sequence of the last task that was new."""
        self.credit = 0.0
        """Tasks that it may order beside what those before it leave."""
        self.retry_at = 0.0
        """Nothing is ordered before."""


def orders(free: int, backlogs: Sequence[int], credits: Sequence[float]) -> list[int]:
    """How many tasks to have on order for each priority, the first first. Pure.

    A lane may have all that the known backlogs before it leave free, since as far as is known
    nothing else will come, and beside that its credit: the share that it has earned while
    those before it were served.
    """
    wanted: list[int] = []
    left = free
    for backlog, credit in zip(backlogs, credits, strict=True):
        wanted.append(left + int(credit))
        left -= min(backlog, left)
    return wanted


class Puller:
    """The first stage of the task path."""

    def __init__(
        self,
        bus: Bus,
        view: FleetView,
        dispatcher: Dispatcher,
        verdicts: Verdicts,
        settings: CoordinatorSettings,
        coordinators: Callable[[], int],
    ) -> None:
        """``coordinators`` says among how many the free room is shared."""
        self.ack_wait = 10.0
        self.pulled = 0
        self.redelivered = 0
        self.stale = 0
        """Tasks dropped because they came while this process was stopped."""
        self._stall = Stall(CATCH_UP)
        self._bus = bus
        self._view = view
        self._dispatcher = dispatcher
        self._verdicts = verdicts
        self._settings = settings
        self._coordinators = coordinators
        self._lanes: dict[str, Lane] = {}
        """By the part of a task's subject that names the lane."""
        self._sets: dict[str, tuple[Lane, ...]] = {}
        """By capability, in order of priority."""
        self._opening: set[str] = set()
        self._orders: OrderedDict[str, tuple[Lane, int]] = OrderedDict()
        self._inbox = ""
        self._number = 0
        self._soon = False
        self._stopped = False
        self._subscription: Any = None
        self._background = Background(log, "pulling")

    async def start(self) -> None:
        """Begin to order."""
        self._inbox = f"{self._bus.nc.new_inbox()}."
        self._subscription = await self._bus.listen(f"{self._inbox}*", self._on_message)
        self._bus.reconnected.append(self.forget_orders)

    async def stop(self) -> None:
        """Order no more, and pass on what has been sent already."""
        self._stopped = True
        self._bus.reconnected.remove(self.forget_orders)
        await self._bus.retire(self._subscription)
        # Redeliveries among it are still being looked at.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.refusal_wait):
                await self._background.settled()
        await self._background.cancel()

    def open(self, capabilities: Collection[str]) -> None:
        """Have lanes for these; consumers are created where they are missing."""
        for capability in capabilities:
            if capability not in self._sets and capability not in self._opening:
                self._opening.add(capability)
                self._background.spawn(self._open(capability))

    def soon(self) -> None:
        """Room has changed: order what is wanted at the end of this turn of the loop."""
        if not self._soon and not self._stopped:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._pull)

    def forget_orders(self) -> None:
        """The connection broke, and all orders with it."""
        for lane in self._lanes.values():
            lane.asked = 0
        self._orders.clear()
        self._stall.forgive()
        self.soon()

    # the inside

    async def _open(self, capability: str) -> None:
        try:
            await consumers.ensure_lanes(self._bus, capability, self.ack_wait)
        finally:
            self._opening.discard(capability)
        if capability in self._sets:
            return
        subjects = self._bus.subjects
        lanes = []
        for index, priority in enumerate(PRIORITIES):
            consumer = subjects.consumer(capability, priority)
            lane = Lane(
                capability,
                index,
                f"$JS.API.CONSUMER.MSG.NEXT.{subjects.tasks_stream}.{consumer}",
            )
            self._lanes[subjects.lane(capability, priority)[:-2]] = lane
            lanes.append(lane)
        self._sets[capability] = tuple(lanes)
        self.soon()

    def _pull(self) -> None:
        self._soon = False
        self._stall.tick(self.ack_wait)
        if self._stopped or not self._bus.connected:
            return
        now = time.monotonic()
        share = max(1, self._coordinators())
        for capability, lanes in self._sets.items():
            pool = self._view.pool(capability)
            if not pool.members and not pool.reach:
                continue
            # Rounded up: with more coordinators than free slots each must still get work.
            free = -(-pool.room // share) + pool.reach - self._dispatcher.held(capability)
            if free <= 0:
                continue
            backlogs = [lane.backlog for lane in lanes]
            credits = [lane.credit for lane in lanes]
            wanted = orders(free, backlogs, credits)
            for lane, want in zip(lanes, wanted, strict=True):
                if lane.asked and now > lane.overdue:
                    lane.asked = 0
                want = min(want, self._settings.max_ask)
                if want > 0 and lane.asked <= want * RENEW and now >= lane.retry_at:
                    count = want - lane.asked
                    self._order(lane, count, now)
                    # Not what it has earned in this very loop: that is not on order.
                    lane.credit -= int(credits[lane.priority])
                    if lane.backlog:
                        for lower in lanes[lane.priority + 1 :]:
                            lower.credit = min(lower.credit + count * SHARE, MAX_CREDIT)

    def _order(self, lane: Lane, count: int, now: float) -> None:
        self._number += 1
        inbox = f"{self._inbox}{self._number}"
        expires = self._settings.pull_expires
        try:
            self._bus.send(
                lane.next_subject,
                codec.encode({"batch": count, "expires": int(expires * SECOND)}),
                inbox,
            )
        except Disconnected as problem:
            log.warning("no tasks are ordered: %s", problem)
            return
        lane.asked += count
        lane.overdue = now + expires + SLACK
        self._orders[inbox] = (lane, count)
        if len(self._orders) > 64 * len(self._lanes) + 256:
            # Filled orders are not announced; only those that expire are.
            self._orders.popitem(last=False)

    def _on_message(self, message: Inbound) -> None:
        if message.block[8:9] == b" " and message.subject.startswith(self._inbox):
            self._on_status(message)
            return
        key, _, rest = message.subject.partition(".task.")
        parts = rest.split(".")
        lane = self._lanes.get(f"{key}.task.{parts[0]}.{parts[1]}") if len(parts) == 4 else None
        if lane is None:
            raise DecodeError("delivery", f"{message.subject[:200]!r} belongs to no lane")
        if lane.asked > 0:
            lane.asked -= 1
        self.pulled += 1
        delivery = acks.parse(message.reply)
        lane.backlog = delivery.pending
        task_id = f"{parts[2]}.{parts[3]}"
        block = message.block
        if not TASK_ID.fullmatch(task_id):
            # No subject about it could be built, so it is buried under a name that we give it.
            unnamed = _bare(lane, f"unnamed.{delivery.sequence}", message)
            self._verdicts.poison(unnamed, f"task id {task_id[:200]!r} is not a legal name")
            return
        try:
            work = Work(
                lane.capability,
                lane.priority,
                task_id,
                message.data,
                block,
                ack=message.reply,
                sequence=delivery.sequence,
            )
            if work.select:
                self._view.pool(work.capability, work.select)
        except (FleetError, ValueError) as problem:
            self._verdicts.poison(_bare(lane, task_id, message), str(problem))
            return
        if self._stall.stale(work.since, self.ack_wait):
            # The broker has given it out again since, or will when the ack wait is over.
            self.stale += 1
            return
        if delivery.delivered > 1:
            self.redelivered += 1
            work.first = False
            self._background.spawn(self._again(work))
        elif delivery.sequence <= lane.highest:
            # A server that was killed forgets its last deliveries and acknowledgements.
            self._background.spawn(self._again(work))
        elif work.deadline and time.time() >= work.deadline:
            self._verdicts.expired(work)
        else:
            self._dispatcher.place(work)
        lane.highest = max(lane.highest, delivery.sequence)
        if lane.asked == 0 or lane.asked % 32 == 0:
            self.soon()

    async def _again(self, work: Work) -> None:
        if await self._verdicts.look_back(work):
            if work.deadline and time.time() >= work.deadline:
                self._verdicts.expired(work)
            else:
                self._dispatcher.place(work)

    def _on_status(self, message: Inbound) -> None:
        order = self._orders.pop(message.subject, None)
        if order is None:
            return
        lane, count = order
        status = message.status
        left = count
        if status in ("404", "408"):
            try:
                left = int(message.headers.get("Nats-Pending-Messages", str(count)))
            except ValueError:
                left = count
            lane.backlog = 0
        else:
            # 409: the consumer is gone, or its server is going. 503: it never was.
            log.info("lane %s: %s", lane.next_subject, message.block[9:80])
            lane.retry_at = time.monotonic() + 0.25
            self._background.spawn(self._reopen(lane.capability))
        lane.asked = max(0, lane.asked - left)
        self.soon()

    async def _reopen(self, capability: str) -> None:
        if capability in self._opening:
            return
        self._opening.add(capability)
        await asyncio.sleep(0.3)  # the server has just said that it is not ready
        await self._open_again(capability)

    async def _open_again(self, capability: str) -> None:
        try:
            await consumers.ensure_lanes(self._bus, capability, self.ack_wait)
        finally:
            self._opening.discard(capability)
        self.soon()


def _bare(lane: Lane, task_id: str, message: Inbound) -> Work:
    """A work without the headers that could not be read."""
    sequence = acks.parse(message.reply).sequence
    return Work(
        lane.capability, lane.priority, task_id, message.data, b"", message.reply, sequence=sequence
    )
