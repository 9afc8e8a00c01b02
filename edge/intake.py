"""What coordinators send: taken, or refused at once. Only a refusal is answered."""

import asyncio

from edge import port
from edge.client import decode
from edge.errors import Garbage
from edge.names import nested, shaped
from edge.task import ENDING, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.runtime import Runtime
    from edge.wire import Message

CATCH_UP = 500
"""Milliseconds in which an agent that stood still reads what has come meanwhile."""
REMEMBERED = 100
"""Cancellations of tasks that are not held here, or not yet."""


class Intake:
    """Holds what the agent has taken, and keeps the broker from giving it to others."""

    def __init__(self, runtime: "Runtime") -> None:
        self.held: dict[str, Task] = {}
        self.drained = False
        """Somebody has said so."""
        self.waiting = False
        """There is no good configuration."""
        self.adopted = 0
        self._rt = runtime
        self._awake: float = port.ticks()
        self._stale_until: float = 0
        self._empty = asyncio.Event()
        self._canceled: list[tuple[str, str]] = []

    @property
    def state(self) -> str:
        """``ready`` or ``draining``."""
        return "draining" if self.drained or self.waiting else "ready"

    @property
    def ack_wait(self) -> int:
        """Milliseconds after which the broker gives a task to others."""
        return int(self._rt.presence.policy["ack_wait"] * 1000)

    def on_dispatch(self, message: "Message") -> None:
        """A task, a call, or the question whether we are there."""
        fields = message.headers
        rt = self._rt
        if "Fleet-Probe" in fields:
            if not message.reply:
                raise Garbage("probe: has no reply subject")
            rt.client.pub(message.reply, b"", [("Fleet-Incarnation", rt.incarnation)])
            return
        capability = fields.get("Fleet-Capability", "")
        twin = self.held.get(fields.get("Fleet-Task", ""))
        if capability not in rt.offers:
            self._refuse(message, "capability")
        elif twin is not None and not twin.reply:
            # The broker gave us again what we hold: run it once, answer the newer one.
            self.adopted += 1
            rt.load.accept(fields.get("Fleet-Via", ""))
            ack = fields.get("Fleet-Ack", "")
            # One token: with a blank it would be another message than we mean.
            twin.ack = ack if len(ack.split()) == 1 else twin.ack
            twin.leased_until = port.ticks() + self.ack_wait
        elif self.state != "ready":
            self._refuse(message, self.state)
        elif len(self.held) >= rt.load.window or rt.short_of_memory() or self._stale(fields):
            self._refuse(message, "full")
        else:
            try:
                task = Task(message, capability, rt, port.ticks(), self.ack_wait)
            except Garbage:
                self._refuse(message, "malformed")
                raise
            if task.stored_ms:
                task.queued_ms = max(0, rt.now() - task.stored_ms)
            rt.load.accept(task.via)
            rt.load.took()
            self.held[task.id] = task
            for known in list(self._canceled):
                if known[0] == task.id:
                    self._canceled.remove(known)
                    task.why, task.reason, task.canceled = "canceled", known[1], True
            rt.work.take(task)

    def on_cancel(self, message: "Message") -> None:
        """A client canceled a task that we may hold."""
        task_id = nested(message.subject, 2)
        reason = shaped("cancellation", decode(message.body), message=str)["message"]
        if not self.cancel(task_id, reason) and task_id not in self.held:
            # It may overtake the task, which comes by way of a coordinator.
            self._canceled.append((task_id, reason[:1000]))
            del self._canceled[:-REMEMBERED]

    def cancel(self, task_id: str, reason: str) -> bool:
        """Cancel a task; False if it is not held, or is past canceling."""
        task = self.held.get(task_id)
        if task is None or task.stage == ENDING:
            return False
        self._rt.work.cancel(task, "canceled", reason)
        return True

    def release(self, task: Task) -> None:
        """The broker has ``task`` off our hands."""
        if self.held.get(task.id) is task:
            del self.held[task.id]
        if not self.held:
            self._empty.set()

    async def emptied(self, seconds: float) -> None:
        """Return when nothing is held any more, or after so many seconds."""
        if self.held:
            self._empty.clear()
            try:
                await port.within(self._empty.wait(), seconds)
            except asyncio.TimeoutError:
                pass  # what is left is handed back

    def extend(self) -> None:
        """Tell the broker of tasks that are with us for long, so that it waits on."""
        wait = self.ack_wait
        now = port.ticks()
        if now - self._awake > wait:
            self._stale_until = now + CATCH_UP
        self._awake = now
        for task in self.held.values():
            left = task.leased_until - now
            # More than an ack wait is left of one that was longer when it was begun.
            due = left >= 0 and not wait * 2 // 3 < left <= wait
            if task.ack and due and self._rt.client.pub(task.ack, b"+WPI"):
                task.leased_until = now + wait
        self._rt.chores.at("extend", wait / 6, self.extend)

    def _stale(self, fields: "dict[str, str]") -> bool:
        """Whether what comes now may have lain in the socket while we stood still: then others
        have it, and if it is new after all, it finds its way."""
        now = port.ticks()
        late = now - self._awake > self.ack_wait or now < self._stale_until
        return late and "Fleet-Ack" in fields

    def _refuse(self, message: "Message", why: str) -> None:
        if message.reply:
            self._rt.client.pub(message.reply, b"", [("Fleet-Busy", why)])
        if why == "full":
            # The sender's picture of us is out of date.
            self._rt.presence.poke()
