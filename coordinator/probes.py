"""Asks agents that are late, or whose connection closed, whether they live."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from bus.background import Background
from bus.connection import Bus
from bus.errors import Disconnected
from bus.wire import headers as h
from coordinator.entry import AgentEntry
from coordinator.liveness import Answer, after_probe
from coordinator.settings import CoordinatorSettings
from coordinator.turns import Turns

log = logging.getLogger("fleetbus.coordinator")

AT_ONCE: Final = 256
"""Agents that are asked at the same time."""

Reason = Literal["late", "deaf", "disconnected"]
"""No heartbeat in time; nobody listened to a task; the server said that its connection closed."""


class Probes:
    """Finds out whether agents live."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        settings: CoordinatorSettings,
        background: Background,
        is_current: Callable[[AgentEntry], bool],
        on_alive: Callable[[AgentEntry], None],
        on_lost: Callable[[AgentEntry, str], None],
    ) -> None:
        """``is_current`` says whether an agent still counts; it is false once it has left or
        was replaced. ``on_lost`` is told why, too."""
        self.calm_until = 0.0
        """Nobody is asked before, on the monotonic clock."""
        self._bus = bus
        self._settings = settings
        self._question = h.encode([(h.PROBE, me)])
        self._is_current = is_current
        self._on_alive = on_alive
        self._on_lost = on_lost
        self._asking: set[str] = set()
        self._turns = Turns(background, AT_ONCE)

    def __contains__(self, agent: str) -> bool:
        """True while an agent is being asked, or is to be."""
        return agent in self._asking

    def soon(self, entry: AgentEntry, reason: Reason, delay: float = 0.0) -> None:
        """Ask ``entry`` in ``delay`` seconds, and until it is clear whether it lives."""
        now = time.monotonic()
        calm = self.calm_until - now
        # What the server says of a connection, it says of one that was made after ours.
        told = reason == "disconnected"
        if entry.id in self._asking and not (told and calm > 0):
            return
        self._asking.add(entry.id)
        ask = partial(self._probe, entry, reason, now)
        delay = max(delay, 0.0 if told else calm)
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._turns.take, ask)
        else:
            self._turns.take(ask)

    def stop(self) -> None:
        """Ask nobody any more."""
        self._turns.close()

    # the inside

    async def _probe(self, entry: AgentEntry, reason: Reason, since: float) -> None:
        silent = 0
        try:
            while self._is_current(entry):
                if reason == "late" and entry.last_seen > since:
                    return  # it was heard of before its turn came
                asked = time.monotonic()
                answer = await self._ask(entry)
                if not self._is_current(entry):
                    return  # it left, or was replaced, meanwhile
                if answer == "silence":
                    if entry.last_seen > asked:
                        return  # it was heard of meanwhile
                    silent += 1
                verdict = after_probe(answer, silent, reason == "disconnected")
                if verdict == "lost":
                    self._on_lost(entry, f"a probe was answered by {answer}")
                    return
                if verdict == "alive":
                    entry.last_seen = max(entry.last_seen, time.monotonic())
                    self._on_alive(entry)
                    return
        except Disconnected as problem:
            log.debug("probe of %s: %s", entry.id, problem)
        finally:
            self._asking.discard(entry.id)

    async def _ask(self, entry: AgentEntry) -> Answer:
        """One question.

        Raises:
            Disconnected: the connection broke.
        """
        bus, wait = self._bus, self._settings.probe_timeout
        subject = bus.subjects.dispatch(entry.id)
        longest = wait + bus.settings.request_timeout + 1.0
        asking = asyncio.create_task(bus.request(subject, block=self._question, timeout=longest))
        try:
            await asyncio.wait((asking,), timeout=wait)
            if not asking.done():
                # It may be us: what the server has sent before it answers this waits in our
                # own socket, and the agent's answer may be in it.
                await bus.flush()
                await asyncio.sleep(0)
            if not asking.done():
                return "silence"
            message = await asking
        finally:
            if not asking.cancel() and not asking.cancelled():
                asking.exception()  # looked at, or asyncio would complain
        if message.status == "503":
            return "nobody"
        same = message.headers.get(h.INCARNATION) == entry.incarnation
        return "same" if same else "other"
