"""Payloads too big for a message: they follow the tasks and results that name them."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bus import codec, store
from bus.connection import Bus
from bus.errors import BusError
from bus.payloads import Payloads
from bus.subjects import TASK_ID
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.site import SiteWants
from coordinator.sites.far import Far, TooMuch

log = logging.getLogger("fleetbus.sites")

PART: Final = 256 * 1024
"""Bytes of a payload in one message."""

BURST: Final = 4
"""Parts that are sent before the server is asked whether it keeps up."""

PATIENCE: Final = 20.0
"""Seconds for the next part."""

MOST: Final = 1024 * 1024 * 1024
"""Bytes of a payload: nobody's bucket takes more, and whoever sends more has no good intentions."""

MISSING: Final = "missing"
"""Says in ``Fleet-Error`` of the last part that there is no such payload, or none for the one
who asks."""


def of_task(name: str) -> str:
    """The id of the task that a payload belongs to, by its name; empty if it tells none. Pure."""
    kind, _, task_id = name.partition("-")
    if kind == "out":
        # Of each attempt another: out-<task id>-<nanoseconds>.
        task_id = task_id.rpartition("-")[0]
    return task_id if TASK_ID.fullmatch(task_id) else ""


async def fetch(bus: Bus, far: Far, subject: str, message: Inbound, task_id: str) -> None:
    """Have the payload that ``message`` names on this side, too. One that is not kept over there
    any more is left out, and one that is not of the task: whoever opens it is told.

    Raises:
        LinkDown, TimeoutError, BusError: it could not be asked for, came with a hole, or could
            not be stored here.
    """
    name = h.find(message.block, h.PAYLOAD)
    if of_task(name) != task_id:
        # It would overwrite another task's.
        log.warning("task %s names payload %s, which is not its own", task_id, name[:200])
        return
    wants = codec.encode(SiteWants(payload=name))
    try:
        parts = await far.collect(subject, wants, lambda one: not one.data, PATIENCE, MOST)
    except TooMuch as problem:
        log.warning("payload %s: %s", name, problem)
        return
    end = parts[-1].block
    if h.find(end, h.ERROR):
        log.warning("payload %s is not kept on the other side of the link any more", name)
        return
    data = b"".join(one.data for one in parts)
    size = h.find(end, h.SIZE)
    if size != str(len(data)):
        # A link that blinks takes some of the parts with it, and the last one still comes.
        raise BusError(
            f"payload {name}: {len(data)} of {size or 'an unknown number of'} bytes came"
        )
    await Payloads(bus).put(name, data)


async def send(bus: Bus, name: str, reply: str, allowed: bool) -> None:
    """Send a payload in parts, and last an empty one that says how much that was."""
    data, problem = b"", not allowed
    if allowed:
        try:
            data = await Payloads(bus).get(name)
        except BusError as error:
            log.warning("a payload that the other side asks for: %s", error)
            problem = True
    for number, start in enumerate(range(0, len(data), PART)):
        bus.send(reply, data[start : start + PART])
        if number % BURST == BURST - 1:
            await bus.flush()
            await asyncio.sleep(0)
    end = [(h.ERROR, MISSING)] if problem else [(h.SIZE, str(len(data)))]
    bus.send(reply, b"", "", h.encode(end))


async def may_have(bus: Bus, name: str, site: str) -> bool:
    """True if ``site`` may have a payload: the input of a task that was handed over to it, by its
    mark, or the output that a result names. Results are told to any site that asks for them.

    Raises:
        BusError, TimeoutError: as for ``store.last``.
    """
    task_id = of_task(name)
    if not task_id:
        return False
    stream = bus.subjects.results_stream
    mark = await store.last(bus, stream, bus.subjects.attempt(task_id))
    if mark is not None and h.find(mark.block, h.SITE) == site:
        return True
    result = await store.last(bus, stream, bus.subjects.result(task_id))
    return result is not None and h.find(result.block, h.PAYLOAD) == name
