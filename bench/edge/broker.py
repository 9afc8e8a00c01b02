"""What the broker has of a simulation: results and readings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec

from bench.edge.outcome import Reading, Stored
from bus import Bus, store

Batch = dict[str, Any]


async def results(bus: Bus, client: str = "*") -> list[Stored]:
    """All results of a client's tasks, or of everybody's, in the order in which they were
    stored."""
    found = []
    subject = bus.subjects.result(f"{client}.*")
    async for one in store.scan(bus, bus.subjects.results_stream, subject):
        head = one.headers
        task = ".".join(head["Nats-Subject"].split(".")[-2:])
        found.append(Stored(task, head.get("Fleet-State", "completed"), _unix(head)))
    return found


async def readings(bus: Bus, run: str) -> AsyncIterator[Reading]:
    """All readings of a run's devices, in the order in which they were stored."""
    subject = bus.subjects.telemetry("simulated", "*", "count")
    async for one in store.scan(bus, bus.subjects.telemetry_stream, subject):
        device = one.headers["Nats-Subject"].split(".")[-2]
        if not device.startswith(run + "-"):
            continue
        batch = msgspec.json.decode(one.data, type=Batch)
        for offset, (number, true_ms, told) in batch["readings"]:
            yield Reading(device, number, batch["at_ms"] + offset - true_ms, bool(told))


def _unix(head: Any) -> float:
    stamp = head.get("Nats-Time-Stamp", "")
    # Nanoseconds are more than Python reads.
    with contextlib.suppress(ValueError):
        whole, _, fraction = stamp.rstrip("Z").partition(".")
        return datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00").timestamp()
    return 0.0
