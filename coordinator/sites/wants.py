"""Sends a site the results of the tasks that it has handed up, as they come."""

from __future__ import annotations

import logging
import time
from typing import Final

from nats.aio.subscription import Subscription

from bus import codec, store
from bus.background import Background
from bus.connection import Bus
from bus.errors import Disconnected
from bus.subjects import TASK_ID
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.site import SiteWants
from coordinator.sites import cargo
from coordinator.sites.routes import kept

log = logging.getLogger("fleetbus.sites")

STANDS: Final = 90.0
"""Seconds for which a question stands: sites ask again before."""

MOST: Final = 20_000
"""Tasks whose results are waited for, of one site; of the others it is told when it asks."""

BUSY: Final = 64
"""Questions that are being answered at the same time; the site asks others again."""


class Wants:
    """What one site waits for."""

    def __init__(self, bus: Bus, site: str) -> None:
        self._bus = bus
        self._site = site
        self._prefix = len(bus.subjects.done(""))
        self._waiting: dict[str, tuple[Subscription, float]] = {}
        self._reply = ""
        self._background = Background(log, "telling a site of results")

    def ask(self, message: Inbound) -> None:
        """The site asks for some."""
        wants = codec.decode(SiteWants, message.data, "what a site wants")
        if not message.reply or len(self._background) >= BUSY:
            return
        if wants.payload:
            self._background.spawn(self._send(wants.payload, message.reply))
        elif held := _legal(wants.held):
            self._background.spawn(self._recall(held, message.reply))
        elif tasks := _legal(wants.tasks):
            self._reply = message.reply
            self._background.spawn(self._answer(tasks))

    async def stop(self) -> None:
        """Tell nothing any more."""
        await self._background.cancel()
        for subscription, _ in self._waiting.values():
            await self._bus.unlisten(subscription)
        self._waiting.clear()

    # the inside

    async def _answer(self, tasks: list[str]) -> None:
        bus, subjects = self._bus, self._bus.subjects
        now = time.monotonic()
        for task_id, (subscription, until) in list(self._waiting.items()):
            if until < now:
                del self._waiting[task_id]
                await bus.unlisten(subscription)
        # Listen first: a result that comes between is heard, at worst twice.
        for task_id in tasks:
            if task_id in self._waiting:
                self._waiting[task_id] = (self._waiting[task_id][0], now + STANDS)
            elif len(self._waiting) < MOST:
                heard = await bus.listen(subjects.done(task_id), self._on_done)
                self._waiting[task_id] = (heard, now + STANDS)
        await bus.flush()
        for task_id, message in await self._stored(tasks):
            self._tell(task_id, message)

    async def _recall(self, held: list[str], reply: str) -> None:
        """Tell the site which of these were canceled while it could not hear of it."""
        for task_id, message in await self._stored(held):
            if h.find(message.block, h.STATE) == "canceled":
                self._bus.send(reply, b"", "", _told(task_id, message))

    async def _stored(self, tasks: list[str]) -> list[tuple[str, Inbound]]:
        """The results that there are of these tasks, by id."""
        subjects = self._bus.subjects
        found = await store.lasts(
            self._bus, subjects.results_stream, [subjects.result(one) for one in tasks]
        )
        prefix = len(subjects.result(""))
        return [(h.find(one.block, "Nats-Subject")[prefix:], one) for one in found]

    async def _send(self, name: str, reply: str) -> None:
        allowed = await cargo.may_have(self._bus, name, self._site)
        await cargo.send(self._bus, name, reply, allowed)

    def _on_done(self, message: Inbound) -> None:
        self._tell(message.subject[self._prefix :], message)

    def _tell(self, task_id: str, message: Inbound) -> None:
        waiting = self._waiting.pop(task_id, None)
        if waiting is not None:
            self._background.spawn(self._bus.unlisten(waiting[0]))
        try:
            self._bus.send(self._reply, message.data, "", _told(task_id, message))
        except Disconnected as problem:
            log.debug("result of %s: %s", task_id, problem)  # it is asked for again


def _legal(tasks: tuple[str, ...]) -> list[str]:
    return [one for one in tasks[: store.MULTI_LAST] if TASK_ID.fullmatch(one)]


def _told(task_id: str, message: Inbound) -> bytes:
    """The headers of a result on its way to the site."""
    return h.encode([*kept(message.block, (h.TASK,)), (h.TASK, task_id)])
