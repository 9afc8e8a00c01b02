"""Asks the hub which of its tasks that a site has were canceled while the link was down."""

from __future__ import annotations

import os
from functools import partial
from typing import Final

from bus import codec, store
from bus.connection import Bus
from bus.subjects import TASK_ID
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.site import SiteWants
from bus.wire.task import ErrorInfo
from coordinator.sites import cancels, routes
from coordinator.turns import Turns

AT_ONCE: Final = 500
"""Tasks that are asked about in one message."""


class Recall:
    """Nothing is kept for it: what the site has is in its queue, what was canceled is in the
    hub's results."""

    def __init__(self, bus: Bus, site: str, inbox: str, turns: Turns) -> None:
        """``inbox``: begins the reply subjects that may cross the link. ``turns``: in which
        canceled tasks are stopped."""
        self._bus = bus
        self._site = site
        self._inbox = f"{inbox}.c{os.urandom(6).hex()}"
        self._turns = turns

    async def start(self) -> None:
        """Listen for answers."""
        await self._bus.listen(self._inbox, self._on_answer)

    async def ask(self) -> None:
        """The link was made anew: ask about all tasks here that have come from the hub.

        Raises:
            BusError, TimeoutError: as for ``store.scan``.
        """
        subjects = self._bus.subjects
        held: list[str] = []
        async for message in store.scan(self._bus, subjects.tasks_stream, subjects.tasks):
            if h.find(message.block, h.ORIGIN):
                held.append(routes.task_id(h.find(message.block, "Nats-Subject")))
                if len(held) == AT_ONCE:
                    self._send(held)
                    held = []
        if held:
            self._send(held)

    def _send(self, held: list[str]) -> None:
        wants = codec.encode(SiteWants(held=tuple(held)))
        self._bus.send(self._bus.subjects.site_wants(self._site), wants, self._inbox)

    def _on_answer(self, message: Inbound) -> None:
        if message.status:
            return  # nobody is there yet; whoever comes says that the link was made
        task_id = message.headers.get(h.TASK, "")
        if TASK_ID.fullmatch(task_id):
            result = results.decode(task_id, message.headers, message.data)
            error = result.error or ErrorInfo("canceled at the hub")
            self._turns.take(partial(cancels.stop, self._bus, task_id, error))
