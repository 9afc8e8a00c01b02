"""Forgets a site that will not come back, and ends what it owes."""

from __future__ import annotations

from typing import NamedTuple

from bus import Bus, sites, store
from bus.client import registry
from bus.connection import ApiError
from bus.subjects import SITE, SPILL
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from coordinator.sites import handed


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
    error = ErrorInfo(f"site {name}, which had it, was forgotten", "SiteForgotten")
    failed = 0
    for task_id in await handed.unfinished(bus, name):
        failed += await store.conclude(bus, Result(task_id, "failed", error=error))
    stream = subjects.sites_stream
    await bus.api(f"STREAM.PURGE.{stream}", {"filter": subjects.site_tasks(name)})
    try:
        await bus.api(f"CONSUMER.DELETE.{stream}.{sites.down_consumer(name)}")
    except ApiError as error:
        if error.code != ApiError.NO_CONSUMER:
            raise  # else it was never connected
    return Forgotten(len(agents), failed)
