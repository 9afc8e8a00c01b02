"""Ends tasks that wait for a link until their deadline has passed."""

from __future__ import annotations

import time

from bus import store
from bus.connection import Bus
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from coordinator.sites import routes


async def expire(bus: Bus, site: str) -> float:
    """Write the result ``expired`` of each task for ``site`` whose deadline has passed, and take
    it out of the queue; seconds until the next one's deadline, 0 if none has one.

    Raises:
        BusError, TimeoutError: as for ``store.scan`` and ``store.publish``.
    """
    subjects = bus.subjects
    now = time.time()
    late: list[str] = []
    soonest = 0.0
    async for message in store.scan(bus, subjects.sites_stream, subjects.site_tasks(site)):
        told = h.find(message.block, h.DEADLINE)
        if not told.isdigit():
            continue
        left = int(told) / 1000 - now
        if left <= 0:
            late.append(h.find(message.block, "Nats-Subject"))
        elif not soonest or left < soonest:
            soonest = left
    for subject in late:
        task_id = routes.task_id(subject)
        error = ErrorInfo(f"its deadline passed while site {site} was away", "Expired")
        # If it has a result already, all the more it need not wait.
        await store.conclude(bus, Result(task_id, "expired", error=error))
        await bus.api(f"STREAM.PURGE.{subjects.sites_stream}", {"filter": subject})
    return soonest
