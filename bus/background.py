"""Coroutines that run beside their owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from bus.errors import FleetError


class Background:
    """Keeps a reference to each, so that none is collected half-way, and tells of failures.

    Args:
        log: where a failure is told.
        what: how the line begins, for example ``watching the fleet``.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(
        self, work: Coroutine[Any, Any, None], on_failure: Callable[[], None] | None = None
    ) -> None:
        """Run ``work``. If it fails, that is logged, and then ``on_failure`` is called."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, on_failure))

    async def settled(self) -> None:
        """Return when all have ended, those too that they start meanwhile."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancel all, and return when they have ended."""
        for task in self._tasks:
            task.cancel()
        await self.settled()

    def _ended(self, task: asyncio.Task[None], on_failure: Callable[[], None] | None) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (problem := task.exception()) is None:
            return
        # Ours say all there is to say; anything else is a bug and wants its traceback.
        known = isinstance(problem, FleetError | TimeoutError)
        self._log.warning("%s: %s", self._what, problem, exc_info=None if known else problem)
        if on_failure is not None:
            on_failure()
