"""Stops on this side of a link what was canceled on the other."""

from __future__ import annotations

from typing import Final

from bus import codec, store
from bus.connection import Bus
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.task import ErrorInfo

AT_ONCE: Final = 16
"""Canceled tasks that are looked for at the same time."""


async def clear(bus: Bus, task_id: str, error: ErrorInfo) -> None:
    """Write the result of a canceled task if it is in this side's queue, and take it out of that
    and of what waits for a link. For those that whoever runs them has heard of.

    Raises:
        BusError, TimeoutError: as for ``store.scan``, ``store.publish`` and ``Bus.api``.
    """
    await _clear(bus, task_id, error)


async def purge(bus: Bus, task_id: str) -> None:
    """Take a task out of what waits for a link.

    Raises:
        BusError, TimeoutError: as for ``Bus.api``.
    """
    waiting = bus.subjects.site_task("*", "*", "*", task_id)
    await bus.api(f"STREAM.PURGE.{bus.subjects.sites_stream}", {"filter": waiting})


async def stop(bus: Bus, task_id: str, error: ErrorInfo) -> None:
    """Clear a task that was canceled when nobody here could hear of it, and tell whoever runs
    it: an agent here, or one at another side to which it was handed over.

    Raises:
        BusError, TimeoutError: as for ``clear``.
    """
    subjects = bus.subjects
    capability = await _clear(bus, task_id, error)
    if not capability:
        mark = await store.last(bus, subjects.results_stream, subjects.attempt(task_id))
        if mark is not None and h.find(mark.block, h.SITE):
            capability = h.find(mark.block, h.CAPABILITY)
    if capability:
        bus.send(subjects.cancel(capability, task_id), codec.encode(error))


async def _clear(bus: Bus, task_id: str, error: ErrorInfo) -> str:
    """As ``clear``; the task's capability, empty if it was not in the queue."""
    subjects = bus.subjects
    capability = ""
    everywhere = subjects.task_anywhere(task_id)
    async for message in store.scan(bus, subjects.tasks_stream, everywhere, batch=1):
        capability = subjects.parse_task(h.find(message.block, "Nats-Subject"))[0]
        break
    if capability:
        # If it has ended already, all the more it need not wait.
        await store.conclude(bus, Result(task_id, "canceled", error=error))
        await bus.api(f"STREAM.PURGE.{subjects.tasks_stream}", {"filter": everywhere})
    await purge(bus, task_id)
    return capability
