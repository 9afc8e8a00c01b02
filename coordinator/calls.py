"""Calls: routed like tasks, stored nowhere."""

from __future__ import annotations

import os
import time

from bus.connection import Bus
from bus.errors import DecodeError, FleetError
from bus.subjects import TOKEN
from bus.transport import Inbound
from coordinator.dispatcher import Dispatcher
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView
from coordinator.work import Work

QUEUE = "coordinators"
"""Queue group: the server gives each call to one coordinator."""


class CallRouter:
    """Takes calls off their subject and places them."""

    def __init__(
        self, bus: Bus, view: FleetView, dispatcher: Dispatcher, verdicts: Verdicts
    ) -> None:
        self.routed = 0
        self._bus = bus
        self._view = view
        self._dispatcher = dispatcher
        self._verdicts = verdicts
        self._unique = os.urandom(4).hex()

    async def start(self) -> None:
        """Join the queue group."""
        self._subscription = await self._bus.listen(self._bus.subjects.calls, self._on_call, QUEUE)

    async def stop(self) -> None:
        """Leave the queue group."""
        await self._bus.retire(self._subscription)

    def _on_call(self, message: Inbound) -> None:
        if not message.reply:
            raise DecodeError("call", "has no reply subject: nobody would get the answer")
        capability = message.subject.rsplit(".", 1)[1]
        if not TOKEN.fullmatch(capability):
            raise DecodeError("call", f"capability {capability[:80]!r} is not a legal name")
        self.routed += 1
        task_id = f"call.{self._unique}-{self.routed}"
        work = Work(capability, 0, task_id, message.data, b"", reply=message.reply)
        try:
            work = Work(capability, 0, task_id, message.data, message.block, reply=message.reply)
            if work.select:
                self._view.pool(capability, work.select)
        except (FleetError, ValueError) as problem:
            self._verdicts.poison(work, str(problem))
            return
        if work.deadline and time.time() >= work.deadline:
            self._verdicts.expired(work)
        else:
            self._dispatcher.place(work)
