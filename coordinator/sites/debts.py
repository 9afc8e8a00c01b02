"""Results of tasks that this site has handed up: asked for until they are here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final

from bus import codec, store
from bus.connection import ApiError, Bus
from bus.errors import MessageTooBig
from bus.sites import HUB
from bus.subjects import TASK_ID
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.site import SiteWants
from coordinator.sites import handed
from coordinator.sites.routes import kept, unstorable

log = logging.getLogger("fleetbus.sites")

AT_ONCE: Final = 500
"""Tasks that are asked for in one message."""

EVERY: Final = 30.0
"""Seconds after which all that is open is asked for again."""

PAYLOADS: Final = 4
"""Payloads that are fetched at the same time."""


class Debts:
    """What the hub still owes this site. What matters of it is in the marks of handed tasks."""

    def __init__(self, bus: Bus, site: str, before: Callable[[Inbound], Awaitable[None]]) -> None:
        """``before``: awaited before a result that names a payload is stored."""
        self.open: dict[str, None] = {}
        self.settled = 0
        self._bus = bus
        self._site = site
        self._before = before
        self._payloads = asyncio.Semaphore(PAYLOADS)
        self._unasked: dict[str, None] = {}
        """Those of them that are not asked for yet in this round."""
        self._at = 0.0

    async def read(self) -> None:
        """Find the tasks that were handed up and have no result here.

        Raises:
            BusError, TimeoutError: as for ``handed.unfinished``.
        """
        self.open.update(dict.fromkeys(await handed.unfinished(self._bus, HUB)))

    def add(self, task_id: str) -> None:
        """One more was handed up."""
        self.open[task_id] = None
        self._unasked[task_id] = None

    def again(self) -> None:
        """The link was made anew: ask for all at once."""
        self._unasked = dict(self.open)

    def ask(self, inbox: str) -> None:
        """Ask for some, if it is time; answers come to ``inbox`` as they come."""
        now = time.monotonic()
        if not self._unasked and now >= self._at:
            # Questions stand for longer than that.
            self._at = now + EVERY
            self._unasked = dict(self.open)
        some = tuple(islice(self._unasked, AT_ONCE))
        for task_id in some:
            del self._unasked[task_id]
        if some:
            wants = codec.encode(SiteWants(tasks=some))
            self._bus.send(self._bus.subjects.site_wants(self._site), wants, inbox)

    async def take(self, message: Inbound) -> None:
        """A result has come: store it here, where its client waits for it.

        Raises:
            BusError, TimeoutError: as for ``store.publish``.
        """
        task_id = h.find(message.block, h.TASK)
        if not TASK_ID.fullmatch(task_id) or task_id not in self.open:
            return
        if h.find(message.block, h.PAYLOAD):
            async with self._payloads:
                await self._before(message)
        fields = kept(message.block, (h.TASK,))
        block = h.encode(
            [*(one for one in fields if one[0] != h.MSG_ID), (h.EXPECT_LAST_SUBJECT_SEQ, "0")]
        )
        try:
            subject = self._bus.subjects.result(task_id)
            await store.publish(self._bus, subject, message.data, block)
        except MessageTooBig as problem:
            # It would be so each time that it comes, and its client waits here.
            await store.conclude(self._bus, unstorable(task_id, problem))
        except ApiError as error:
            if error.code != ApiError.WRONG_LAST_SEQUENCE:
                raise
        self.open.pop(task_id, None)
        self._unasked.pop(task_id, None)
        self.settled += 1
