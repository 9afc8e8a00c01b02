"""Other coordinators of the fleet: how many share its free room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from bus import codec
from bus.connection import Bus
from bus.errors import BusError
from bus.transport import Inbound
from bus.wire.heartbeat import CoordinatorBeat

log = logging.getLogger("fleetbus.coordinator")

EVERY: Final = 1.0
"""Seconds between announcements."""

LATE: Final = 3.0
"""Announcements missed before a coordinator counts as gone."""


class Peers:
    """Announces this coordinator and counts the others."""

    def __init__(self, bus: Bus, me: str, describe: Callable[[], dict[str, int]]) -> None:
        """``describe`` gives the numbers that go into the announcement."""
        self._bus = bus
        self._me = me
        self._describe = describe
        self._seen: dict[str, float] = {}
        """Until when each other one counts as alive."""
        self._started_ms = time.time_ns() // 1_000_000
        self._task: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Coordinators alive, this one included."""
        now = time.monotonic()
        return 1 + sum(1 for until in self._seen.values() if until > now)

    def alive(self, coordinator: str) -> bool:
        """True if a coordinator with this id is there."""
        return coordinator == self._me or self._seen.get(coordinator, 0.0) > time.monotonic()

    @property
    def all(self) -> list[str]:
        """Ids of the coordinators alive, this one included."""
        now = time.monotonic()
        return [self._me, *(name for name, until in self._seen.items() if until > now)]

    async def start(self) -> None:
        """Announce, now and from now on."""
        await self._bus.listen(self._bus.subjects.coordinators, self._on_beat)
        self._beat(leaving=False)
        self._task = asyncio.create_task(self._announce(), name="coordinator-beat")

    async def stop(self) -> None:
        """Say that we leave."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._beat(leaving=True)

    async def _announce(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self._beat(leaving=False)

    def _beat(self, leaving: bool) -> None:
        beat = CoordinatorBeat(
            coordinator=self._me,
            next_in=EVERY,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_ms=self._started_ms,
            leaving=leaving,
            **self._describe(),
        )
        if self._bus.connected:
            with contextlib.suppress(BusError):  # the connection's own log says why
                self._bus.send(self._bus.subjects.coordinator(self._me), codec.encode(beat))

    def _on_beat(self, message: Inbound) -> None:
        beat = codec.decode(CoordinatorBeat, message.data, "coordinator announcement")
        if beat.coordinator == self._me:
            return
        if beat.leaving:
            self._seen.pop(beat.coordinator, None)
        else:
            self._seen[beat.coordinator] = time.monotonic() + beat.next_in * LATE
            if len(self._seen) > 1000:
                now = time.monotonic()
                self._seen = {name: until for name, until in self._seen.items() if until > now}
