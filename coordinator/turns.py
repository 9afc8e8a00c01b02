"""Work of which any amount may come up at once, done a few pieces at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from bus.background import Background

Work = Callable[[], Coroutine[Any, Any, None]]


class Turns:
    """Runs work in order of arrival, so many pieces at a time.

    Where a rack dies, or the server was away, thousands of agents want a question or an event
    each. All at once they would hold up the loop for so long that the answers come too late.
    """

    def __init__(self, background: Background, limit: int) -> None:
        self._background = background
        self._limit = limit
        self._running = 0
        self._waiting: deque[Work] = deque()
        self._closed = False

    def __len__(self) -> int:
        """Pieces that wait or run."""
        return len(self._waiting) + self._running

    def take(self, work: Work) -> None:
        """Run it when it is its turn."""
        if not self._closed:
            self._waiting.append(work)
            self._go_on()

    def close(self) -> None:
        """Forget what waits, and take nothing more."""
        self._closed = True
        self._waiting.clear()

    def _go_on(self) -> None:
        while self._waiting and self._running < self._limit:
            self._running += 1
            self._background.spawn(self._run(self._waiting.popleft()))

    async def _run(self, work: Work) -> None:
        try:
            await work()
        finally:
            self._running -= 1
            self._go_on()
