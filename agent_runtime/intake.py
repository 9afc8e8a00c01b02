"""What coordinators send to this agent: taken, or refused at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from agent_runtime.capability import Offer
from agent_runtime.executor import Executor
from agent_runtime.held import Held, Stage
from agent_runtime.load import Load
from bus import codec
from bus.connection import Bus
from bus.errors import DecodeError, Disconnected
from bus.stall import Stall
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.heartbeat import State
from bus.wire.task import ErrorInfo

log = logging.getLogger("fleetbus.agent")

CATCH_UP: Final = 0.5
"""Seconds in which a process that was stopped reads what has come meanwhile."""

REMEMBERED: Final = 1000
"""Cancellations of tasks that are not held here."""


class Intake:
    """Holds what the agent has taken, and keeps the broker from giving it to others."""

    def __init__(
        self,
        bus: Bus,
        incarnation: str,
        load: Load,
        offers: Mapping[str, Offer],
        on_load: Callable[[], None],
    ) -> None:
        self.state: State = "ready"
        """Set by ``drain``, ``resume`` and ``wait``."""
        self.held: dict[str, Held] = {}
        self.ack_wait = 10.0
        """Seconds; from the fleet policy. To be followed by ``extend`` if it is set."""
        self.adopted = 0
        """Redeliveries of tasks that were held here already."""
        self.executor: Executor
        self._drained = False
        self._waiting = False
        self._bus = bus
        self._load = load
        self._offers = offers
        self._on_load = on_load
        self._alive = h.encode([(h.INCARNATION, incarnation)])
        self._stall = Stall(CATCH_UP)
        self._canceled: dict[str, str] = {}
        """Why tasks were canceled that have not come here, if they ever will."""

    def drain(self) -> None:
        """Take no more tasks."""
        self._drained = True
        self._judge()

    def resume(self) -> None:
        """Take tasks again, unless the agent waits for a configuration."""
        self._drained = False
        self._judge()

    def wait(self, waiting: bool) -> None:
        """Take no tasks while there is no configuration, whatever ``resume`` says."""
        self._waiting = waiting
        self._judge()

    def on_dispatch(self, message: Inbound) -> None:
        """A task, a call, or a coordinator's question whether we are there."""
        fields = message.headers
        if h.PROBE in fields:
            if not message.reply:
                raise DecodeError("probe", "has no reply subject")
            self._bus.send(message.reply, block=self._alive)
            return
        offer = self._offers.get(fields.get(h.CAPABILITY, ""))
        if offer is None:
            self._refuse(message, "capability")
            return
        twin = self.held.get(fields.get(h.TASK, ""))
        if twin is not None and not twin.reply:
            self._adopt(twin, fields)
            return
        if self.state != "ready":
            self._refuse(message, self.state)
        elif self._load.room <= 0:
            self._refuse(message, "full")
        elif h.ACK in fields and self._stall.stale(time.monotonic(), self.ack_wait):
            # Others have it by now; and if it is new after all, it finds its way.
            self._refuse(message, "full")
        else:
            try:
                held = Held(message, offer, time.monotonic(), self.ack_wait)
            except DecodeError:
                self._refuse(message, "malformed")
                raise
            self._load.accept(held.via)
            self.held[held.id] = held
            self.executor.take(held)
            if self._canceled and held.id in self._canceled:
                self.executor.cancel(held, self._canceled.pop(held.id))

    def on_cancel(self, message: Inbound) -> None:
        """A client canceled a task that we may hold."""
        task_id = ".".join(message.subject.split(".")[-2:])
        reason = codec.decode(ErrorInfo, message.data, "cancellation").message
        if not self.cancel(task_id, reason) and task_id not in self.held:
            # It may overtake the task, which comes by way of a coordinator.
            self._canceled[task_id] = reason[:1000]
            if len(self._canceled) > REMEMBERED:
                del self._canceled[next(iter(self._canceled))]

    def cancel(self, task_id: str, reason: str) -> bool:
        """Cancel a task; False if it is not held, or is past canceling."""
        held = self.held.get(task_id)
        if held is None or held.stage is Stage.ENDING:
            return False
        self.executor.cancel(held, reason)
        return True

    def release(self, held: Held) -> None:
        """The broker has ``held`` off our hands."""
        if self.held.get(held.id) is held:
            del self.held[held.id]

    def extend(self) -> None:
        """Tell the broker of tasks that are with us for long, so that it waits on."""
        now = time.monotonic()
        self._stall.tick(self.ack_wait)
        for held in self.held.values():
            left = held.leased_until - now
            if not held.ack or left < 0:
                continue
            # More than an ack wait is left of one that was longer when it was begun.
            if not self.ack_wait * 2 / 3 < left <= self.ack_wait:
                try:
                    self._bus.send(held.ack, b"+WPI")
                except Disconnected as problem:
                    log.warning("in-progress acks are not sent: %s", problem)
                    return
                held.leased_until = now + self.ack_wait

    def _judge(self) -> None:
        self.state = "draining" if self._drained or self._waiting else "ready"

    def _adopt(self, twin: Held, fields: h.Headers) -> None:
        """The broker gave us again what we are holding: run it once, answer the newer one."""
        self.adopted += 1
        self._load.accepted[fields.get(h.VIA, "")] = (
            self._load.accepted.get(fields.get(h.VIA, ""), 0) + 1
        )
        twin.ack = fields.get(h.ACK, twin.ack)
        twin.leased_until = time.monotonic() + self.ack_wait

    def _refuse(self, message: Inbound, reason: str) -> None:
        if message.reply:
            self._bus.send(message.reply, block=h.encode([(h.BUSY, reason)]))
        if reason == "full":
            # The sender's picture of us is out of date.
            self._on_load()
