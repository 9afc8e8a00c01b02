"""What is due when, for hundreds of thousands of timers: one heap and one call of the loop."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

OnDue = Callable[[float], None]
"""Told of the time for which it was planned."""

TICK: Final = 0.005
"""Seconds that timers may come late, so that those of one tick share a wake-up."""


class Timers:
    """Calls functions at times of the loop's clock. Nothing is cancelled: who plans anew ignores
    the older call, which it knows by its time."""

    def __init__(self) -> None:
        self.late = 0.0
        """Seconds by which the latest came too late since it was last set to 0: more than a few
        ticks says that this process cannot keep up."""
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, OnDue]] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._wakes = 0.0

    def at(self, when: float, on_due: OnDue) -> None:
        """Call ``on_due(when)`` then, or a little later."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, on_due))
        if self._handle is None or when < self._wakes - TICK:
            self._arm()

    def stop(self) -> None:
        """Call nobody any more."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._wakes = max(self._heap[0][0], self._loop.time() + TICK)
        self._handle = self._loop.call_at(self._wakes, self._run)

    def _run(self) -> None:
        self._handle = None
        heap, now = self._heap, self._loop.time()
        while heap and heap[0][0] <= now:
            when, _, on_due = heapq.heappop(heap)
            self.late = max(self.late, now - when)
            on_due(when)
        if heap:
            self._arm()
