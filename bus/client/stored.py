"""What the bus keeps of tasks: their results, and those that have none yet."""

from __future__ import annotations

import msgspec

from bus import store
from bus.client import schedules
from bus.connection import Bus
from bus.payloads import Payloads
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result


class StoredTasks:
    """Looks up, and writes results under the rule that the first one counts.

    Raises (all methods):
        TopologyMissing, BusError, TimeoutError: as for ``bus.store``.
    """

    def __init__(self, bus: Bus, payloads: Payloads) -> None:
        self._bus = bus
        self._payloads = payloads

    async def result(self, task_id: str) -> Result | None:
        """The result of a task, its output fetched if it was too big for a message."""
        subjects = self._bus.subjects
        message = await store.last(self._bus, subjects.results_stream, subjects.result(task_id))
        if message is None:
            return None
        return await self.read(results.read(task_id, message.block, message.data))

    async def read(self, result: Result) -> Result:
        """Fetch an output that was too big for the message."""
        if not result.payload:
            return result
        data = await self._payloads.get(result.payload)
        return msgspec.structs.replace(result, output=data, payload="")

    async def capability(self, task_id: str) -> str | None:
        """The capability of a task that waits, is held, is scheduled or was handed over to
        the other side of a link, or None."""
        subjects = self._bus.subjects
        async for message in store.scan(
            self._bus, subjects.tasks_stream, subjects.task_anywhere(task_id), batch=1
        ):
            return subjects.parse_task(message.headers["Nats-Subject"])[0]
        # One that was handed over to the other side of a link has left a mark here.
        stream = subjects.results_stream
        mark = await store.last(self._bus, stream, subjects.attempt(task_id))
        if mark is not None and h.find(mark.block, h.SITE):
            return h.find(mark.block, h.CAPABILITY) or None
        return await schedules.capability_of(self._bus, task_id)

    async def conclude(self, result: Result) -> bool:
        """Write a terminal result; False if there was one already."""
        return await store.conclude(self._bus, result)
