"""Takes what schedules have fired to the task queue, where it is a task like any other.

The broker hands each firing to one coordinator. It is acknowledged, and deleted, once the task
is stored; before that the broker hands it out again. The task's message id makes the broker
store it once, however often that happens.
"""

from __future__ import annotations

import logging
from typing import Final

from nats.aio.subscription import Subscription

from bus import acks, consumers, store
from bus.background import Background
from bus.connection import ApiError, Bus
from bus.errors import DecodeError, InvalidName
from bus.subjects import PRIORITIES, task_tokens, token
from bus.transport import Inbound
from bus.wire import headers as h

log = logging.getLogger("fleetbus.coordinator")

AGAIN: Final = acks.nak(1.0)
"""Hand it out again after a second: the task queue is full."""


def task_of(prefix: str, subject: str, block: bytes, sequence: int) -> tuple[str, str, str, bytes]:
    """``(capability, priority, task id, header block)`` of the task in a firing. Pure.

    One that fires once keeps its id, for which its submitter waits. Each firing of a repeated
    schedule is a task of its own, named after its ``sequence``.

    Raises:
        DecodeError: it is no firing, or has a token that is not allowed.
        InvalidName: likewise.
    """
    parts = subject.removeprefix(prefix).split(".")
    if not subject.startswith(prefix) or len(parts) != 4 or parts[1] not in PRIORITIES:
        raise DecodeError("firing", f"{subject[:200]!r} is not {prefix}*.*.*.*")
    capability, priority, client, seq = parts
    fields = h.decode(block) if block else {}
    # The server removes a schedule that has fired for the last time, and says so.
    if fields.get("Nats-Schedule-Next") != "purge":
        seq = f"{seq}-{sequence}"
    task_id = f"{client}.{seq}"
    token("capability", capability)
    task_tokens(task_id)
    # What is the broker's own stays behind: in the task stream it would be obeyed or refused.
    kept = [(name, value) for name, value in fields.items() if not name.startswith("Nats-")]
    return capability, priority, task_id, h.encode([*kept, (h.MSG_ID, task_id)])


class Dues:
    """One coordinator's share of what is due."""

    def __init__(self, bus: Bus) -> None:
        self.moved = 0
        self._bus = bus
        self._prefix = bus.subjects.dues.removesuffix("*.*.*.*")
        self._subscription: Subscription | None = None
        self._background = Background(log, "a schedule's firing was not moved, and comes again")

    async def start(self, ack_wait: float) -> None:
        """Begin, if the server is new enough for schedules.

        Raises:
            BusError, TimeoutError: as for ``consumers.ensure_fired``.
        """
        if await consumers.ensure_fired(self._bus, ack_wait):
            self._subscription = await self._bus.listen(
                self._bus.subjects.fired, self._on_fired, queue=consumers.FIRED
            )

    async def stop(self) -> None:
        """Take no more, and finish what was taken."""
        if self._subscription is not None:
            await self._bus.unlisten(self._subscription)
        await self._background.settled()

    # the inside

    def _on_fired(self, message: Inbound) -> None:
        sequence = acks.parse(message.reply).sequence
        self._background.spawn(self._move(message, sequence))

    async def _move(self, message: Inbound, sequence: int) -> None:
        bus = self._bus
        subjects = bus.subjects
        try:
            capability, priority, task_id, block = task_of(
                self._prefix, message.subject, message.block, sequence
            )
        except (DecodeError, InvalidName, ValueError) as problem:
            bus.drop(message.subject, problem)
            bus.send(message.reply, b"+TERM")
            await self._delete(sequence)
            return
        # A schedule may have been canceled when it had just fired.
        result = await store.last(bus, subjects.results_stream, subjects.result(task_id))
        if result is None:
            try:
                await store.publish(
                    bus, subjects.task(capability, priority, task_id), message.data, block
                )
            except ApiError as problem:
                log.info("task %s is due and cannot be queued yet: %s", task_id, problem)
                bus.send(message.reply, AGAIN)
                return
            self.moved += 1
        bus.send(message.reply, b"+ACK")
        await self._delete(sequence)

    async def _delete(self, sequence: int) -> None:
        try:
            await self._bus.api(
                f"STREAM.MSG.DELETE.{self._bus.subjects.schedules_stream}",
                {"seq": sequence, "no_erase": True},
            )
        except ApiError as problem:
            log.debug("a firing was deleted already: %s", problem)
