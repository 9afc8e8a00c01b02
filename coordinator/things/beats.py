"""The heartbeat of a thing, from its record. Pure."""

from __future__ import annotations

from bus.config.merge import digest
from bus.wire.heartbeat import Heartbeat
from coordinator.things.record import Record

EMPTY = digest({})
"""Hash of no configuration: what a device has that has none."""


def beat_of(
    thing: str, record: Record, revision: int, commit: str, busy_every: float, now_ms: int
) -> Heartbeat:
    """What the fleet is told of a thing.

    Args:
        revision: of the record. It counts up, whichever coordinator has changed it.
        commit: that its configuration comes from; empty if unknown.
        busy_every: seconds after which one that holds something must be heard of.
    """
    card = record.card
    return Heartbeat(
        agent=thing,
        incarnation=record.boot,
        seq=revision,
        site=record.site,
        state="draining" if record.draining or record.leaving else "ready",
        slots=record.slots,
        window=record.slots,
        running=len(record.held),
        done=record.done,
        failed=record.failed,
        accepted=record.accepted,
        service_ms=record.service_ms,
        heap=record.heap,
        heap_free=record.heap_free,
        config=record.config or EMPTY,
        commit=commit[:12],
        rejected=record.rejected,
        versions={one.name: one.version for one in card.capabilities} if card else {},
        version=card.runtime if card else "",
        next_in=min(record.every, busy_every) if record.held else record.every,
        interval=record.every,
        sent_ms=now_ms,
    )
