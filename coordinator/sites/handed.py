"""Tasks that were handed over to the other side of a link, by the marks that this left here."""

from __future__ import annotations

from typing import Final

from bus import store
from bus.connection import Bus
from bus.wire import headers as h

AT_ONCE: Final = 256
"""Tasks whose results are asked for at once."""


async def unfinished(bus: Bus, side: str) -> list[str]:
    """Ids of the tasks that were handed over to ``side`` and have no result here, oldest first.

    Raises:
        BusError, TimeoutError: as for ``store.scan`` and ``store.lasts``.
    """
    subjects = bus.subjects
    prefix = len(subjects.attempt(""))
    marked: dict[str, None] = {}
    async for message in store.scan(bus, subjects.results_stream, subjects.attempts):
        if h.find(message.block, h.SITE) == side:
            marked[h.find(message.block, "Nats-Subject")[prefix:]] = None
    tasks = list(marked)
    prefix = len(subjects.result(""))
    for start in range(0, len(tasks), AT_ONCE):
        keys = [subjects.result(one) for one in tasks[start : start + AT_ONCE]]
        for message in await store.lasts(bus, subjects.results_stream, keys):
            marked.pop(h.find(message.block, "Nats-Subject")[prefix:], None)
    return list(marked)
