"""Forgets a site that will not come back, and ends what it owes."""

from __future__ import annotations

from typing import Final, NamedTuple

from bus import Bus, sites, store
from bus.client import registry
from bus.connection import ApiError
from bus.subjects import SITE, SPILL
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo

AT_ONCE: Final = 256
"""Tasks whose results are asked for at once."""


class Forgotten(NamedTuple):
    """What went with a site."""

    agents: int
    tasks: int
    """Tasks that it had, or that waited for it, and that have failed now."""


async def forget(bus: Bus, name: str) -> Forgotten:
    """Delete the site's policy, record, agents and consumer; fail the tasks that were meant for it.

    Raises:
        BusError, TimeoutError: as for ``store.scan``, ``store.publish`` and ``Bus.api``.
    """
    subjects = bus.subjects
    gone = h.encode([("KV-Operation", "DEL")])
    # The record last of the two: a coordinator that hears of a policy would look for the site.
    for prefix in (SPILL, SITE):
        await store.publish(bus, f"{subjects.config_keys}{prefix}{name}", b"", gone)
    agents = [card.agent async for card in registry.cards(bus) if card.relay == name]
    for agent in agents:
        await store.publish(bus, f"{subjects.registry_keys}{agent}", b"", gone)
    ended = 0
    owed = await _handed(bus, name)
    for start in range(0, len(owed), AT_ONCE):
        ended += await _fail(bus, name, owed[start : start + AT_ONCE])
    stream = subjects.sites_stream
    await bus.api(f"STREAM.PURGE.{stream}", {"filter": subjects.site_tasks(name)})
    try:
        await bus.api(f"CONSUMER.DELETE.{stream}.{sites.down_consumer(name)}")
    except ApiError as error:
        if error.code != ApiError.NO_CONSUMER:
            raise  # else it was never connected
    return Forgotten(len(agents), ended)


async def _handed(bus: Bus, name: str) -> list[str]:
    """Tasks that were handed over to the site, by their marks."""
    subjects = bus.subjects
    prefix = len(subjects.attempt(""))
    found: dict[str, None] = {}
    async for message in store.scan(bus, subjects.results_stream, subjects.attempts):
        if h.find(message.block, h.SITE) == name:
            found[h.find(message.block, "Nats-Subject")[prefix:]] = None
    return list(found)


async def _fail(bus: Bus, name: str, tasks: list[str]) -> int:
    """Fail those that have no result; how many those were."""
    subjects = bus.subjects
    keys = [subjects.result(one) for one in tasks]
    there = await store.lasts(bus, subjects.results_stream, keys)
    ended = {h.find(one.block, "Nats-Subject") for one in there}
    error = ErrorInfo(f"site {name}, which had it, was forgotten", "SiteForgotten")
    count = 0
    for task_id, key in zip(tasks, keys, strict=True):
        if key in ended:
            continue
        block = results.encode(Result(task_id, "failed", error=error), once=True)
        try:
            await store.publish(bus, key, b"", block)
            count += 1
        except ApiError as problem:
            if problem.code != ApiError.WRONG_LAST_SEQUENCE:
                raise  # else it has ended just now
    return count
