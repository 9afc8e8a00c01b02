"""Who submits tasks on one side of a link, at a constant rate, whatever happens to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from bench.harness.load import open_loop, steady
from bus import Client
from bus.errors import FleetError

PAYLOAD: Final = b"x" * 200
PATIENCE: Final = 120.0
"""Seconds from the end of the load until a submitter gives up."""


@dataclass(slots=True)
class Task:
    """One that was accepted. Times are of the machine's monotonic clock."""

    due: float
    """When it was to be submitted."""
    ended: float = 0.0
    """When its submitter was told the result; 0 if it was not."""


@dataclass
class Submitter:
    """One client and its tasks."""

    client: Client
    rate: float
    """Tasks a second."""
    select: str = ""
    """Which agents may do it."""
    tasks: dict[str, Task] = field(default_factory=dict)
    """Those that were accepted."""
    refused: list[Exception] = field(default_factory=list)
    """Why others were not."""
    unheard: list[Exception] = field(default_factory=list)
    """Why it was not told of a result."""

    async def run(self, seconds: float) -> None:
        """Submit for so long; returns when each task has ended or is given up."""
        begun, count = time.monotonic(), 0

        async def one() -> None:
            nonlocal count
            due = begun + count / self.rate
            count += 1
            await self._one(due, begun + seconds + PATIENCE)

        (await open_loop(one, steady(self.rate, seconds))).check()

    async def _one(self, due: float, until: float) -> None:
        # What goes wrong is a finding: it is counted, and the round goes on.
        try:
            handle = await self.client.submit("echo", PAYLOAD, select=self.select)
        except (FleetError, TimeoutError) as problem:
            self.refused.append(problem)
            return
        self.tasks[handle.id] = task = Task(due)
        try:
            await handle.outcome(until - time.monotonic())
        except (FleetError, TimeoutError) as problem:
            self.unheard.append(problem)
        else:
            task.ended = time.monotonic()

    def rate_between(self, begin: float, end: float) -> float:
        """Tasks a second whose results it was told then."""
        return sum(begin <= one.ended < end for one in self.tasks.values()) / (end - begin)

    def took(self, begin: float, end: float) -> list[float]:
        """Seconds until it was told, of tasks that were due then."""
        return [
            one.ended - one.due
            for one in self.tasks.values()
            if begin <= one.due < end and one.ended
        ]
