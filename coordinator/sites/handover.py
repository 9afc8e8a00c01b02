"""Hands tasks over to the other side of a link: stored for it, and then acknowledged here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from bus.answers import Expected
from bus.connection import ApiError, Bus
from bus.errors import Disconnected, FleetError, MessageTooBig
from bus.subjects import PRIORITIES
from bus.transport import Inbound
from bus.wire import headers as h
from coordinator.entry import AgentEntry
from coordinator.sites.place import Place, passed
from coordinator.sites.routes import kept
from coordinator.sites.spill import choose
from coordinator.verdicts import Verdicts
from coordinator.work import Work

log = logging.getLogger("fleetbus.sites")

AT_ONCE: Final = 256
"""Tasks that are being stored for other sides at the same time."""

GRACE: Final = 5.0
"""Seconds that a capability is missed here before its tasks go elsewhere: agents restart."""

PAUSE: Final = 1.0
"""Seconds before a task that could not be handed over is looked at again."""


class Handover:
    """Decides for each task that may go beyond a link, and stores it there."""

    def __init__(self, bus: Bus, here: str, verdicts: Verdicts) -> None:
        """``here``: this side's name."""
        self.handed = 0
        self.failed = 0
        self.on_handed: Any = None
        """Told of each: the side and the task's id."""
        self._bus = bus
        self._here = here
        self._verdicts = verdicts
        self._under_way = 0
        self._idle = asyncio.Event()

    def take(self, work: Work, entry: AgentEntry | None) -> bool:
        """Hand ``work`` over if that is the better place for it. ``entry``: where it would go
        here. False if it stays."""
        pool = work.pool
        if not work.ack or self._under_way >= AT_ONCE:
            return False
        offered = bool(pool.members) or (pool.left > 0 and time.monotonic() - pool.left < GRACE)
        chosen = choose(
            pool.beyond,
            work.capability,
            pool.selector,
            passed(h.find(work.block, h.ORIGIN)) if work.block else (),
            self._here,
            offered,
            None if entry is None else entry.expected_wait(work.capability),
        )
        if not isinstance(chosen, Place):
            return False
        self._under_way += 1
        self._idle.clear()
        chosen.handed += 1
        _Handing(self, work, chosen.name).begin()
        return True

    def ended(self, work: Work, site: str, problem: str, hopeless: bool = False) -> None:
        """The broker has answered for both messages. ``hopeless``: it never will take them."""
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()
        if problem:
            self.failed += 1
            log.info("task %s was not handed over to %s: %s", work.task_id, site, problem)
            if hopeless:
                self._verdicts.poison(work, f"it cannot be handed over: {problem}")
            else:
                self._verdicts.give_back(work, PAUSE)
            return
        self.handed += 1
        self._bus.send(work.ack, b"+ACK")
        if self.on_handed is not None:
            self.on_handed(site, work.task_id)

    async def settled(self, timeout: float = 2.0) -> None:
        """Return when nothing is under way any more, or after ``timeout`` seconds."""
        if self._under_way:
            with contextlib.suppress(TimeoutError):  # the broker gives them out again
                async with asyncio.timeout(timeout):
                    await self._idle.wait()


class _Handing(Expected):
    """One task: first a mark of where it went, then the task, then the ack here."""

    __slots__ = ("bus", "handover", "left", "problem", "site", "work")

    def __init__(self, handover: Handover, work: Work, site: str) -> None:
        self.handover = handover
        self.bus = handover._bus
        self.work = work
        self.site = site
        self.left = 2
        self.problem = ""

    def begin(self) -> None:
        work, bus = self.work, self.bus
        subjects = bus.subjects
        mark = h.encode(
            [
                # Attempts that have begun here count for whoever is asked next.
                (h.ATTEMPT, str(work.attempt - 1)),
                (h.SITE, self.site),
                (h.CAPABILITY, work.capability),
            ]
        )
        fields = kept(work.block)
        if not any(name == h.MSG_ID for name, _ in fields):
            fields.append((h.MSG_ID, work.task_id))
        subject = subjects.site_task(
            self.site, work.capability, PRIORITIES[work.priority], work.task_id
        )
        try:
            bus.send(subjects.attempt(work.task_id), b"", bus.expect(self), mark)
            # Each answer needs its own: the same object counts both.
            bus.send(subject, work.data, bus.expect(self), h.encode(fields))
        except (Disconnected, MessageTooBig) as problem:
            self.left = 0
            too_big = isinstance(problem, MessageTooBig)
            self.handover.ended(work, self.site, str(problem), hopeless=too_big)

    def on_reply(self, message: Inbound) -> None:
        if message.status:
            self._one(f"no stream takes it ({message.status})")
            return
        try:
            ApiError.unless_refused("handing over", message.data)
        except FleetError as error:
            self._one(str(error))
        else:
            self._one("")

    def on_lost(self) -> None:
        self._one("the broker did not answer")

    def _one(self, problem: str) -> None:
        if self.left <= 0:
            return
        self.left -= 1
        self.problem = self.problem or problem
        if self.left == 0:
            self.handover.ended(self.work, self.site, self.problem)
