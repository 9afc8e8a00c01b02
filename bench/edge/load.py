"""The client of a simulation: submits tasks all the time, and asks what became of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from bench.edge.plan import Plan
from bus import Client
from bus.errors import FleetError

PICTURES: Final = 0.15
"""Share of tasks with a result of ``PICTURE`` bytes, which take ``LONG`` seconds."""
PICTURE: Final = 16_000
LONG: Final = (2.0, 6.0)
SHORT: Final = (0.05, 2.0)
DEADLINES: Final = 0.2
"""Share with a deadline of ``DEADLINE`` seconds."""
DEADLINE: Final = 45.0
CANCELED: Final = 0.03
"""Share that is canceled soon after."""
ATTEMPTS: Final = 10
"""A device that loses its power is no fault of the task."""


@dataclass(slots=True)
class Submitted:
    """One task."""

    id: str
    at: float
    """Unix seconds."""
    deadline: float = 0.0
    """The same; 0 for none."""


class Load:
    """Submits at a plan's rate until ``stop``."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self.tasks: dict[str, Submitted] = {}
        self.refused = 0
        """Submissions that raised: the task was not accepted."""
        self.problem = ""
        self._client = client
        self._plan = plan
        self._draw = Random(plan.seed)
        self._running: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Submit no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        if self._running:
            await asyncio.wait(self._running)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        begun, number = loop.time(), 0
        while True:
            number += 1
            await asyncio.sleep(begun + number / self._plan.rate - loop.time())
            task = asyncio.create_task(self._one())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _one(self) -> None:
        draw, client = self._draw, self._client
        picture = draw.random() < PICTURES
        name, span, size = ("picture", LONG, PICTURE) if picture else ("measure", SHORT, 8)
        limit = DEADLINE if draw.random() < DEADLINES else 0.0
        canceled = draw.random() < CANCELED
        seconds = draw.uniform(*span) / self._plan.hurry
        value = {"seconds": round(seconds, 3), "size": size}
        more: dict[str, Any] = {"deadline": limit} if limit else {}
        try:
            at = time.time()
            capability = self._plan.capability(name)
            handle = await client.submit(capability, value, max_attempts=ATTEMPTS, **more)
        except (FleetError, TimeoutError) as problem:
            self.refused += 1
            self.problem = self.problem or str(problem)
            return
        self.tasks[handle.id] = Submitted(handle.id, at, at + limit if limit else 0.0)
        # What became of it is looked up at the end, by who holds nothing in memory.
        client.tasks.abandon(handle)
        if canceled:
            await asyncio.sleep(1)
            try:
                await client.cancel(handle.id, "changed my mind")
            except (FleetError, TimeoutError) as problem:
                self.problem = self.problem or str(problem)
