"""What the broker has of a simulation: results and readings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec

from bench.edge.outcome import Reading, Stored
from bus import Bus, Client, store

Batch = dict[str, Any]


async def results(client: Client) -> list[Stored]:
    """All results of the client's tasks, in the order in which they were stored."""
    bus = client.bus
    found = []
    subject = bus.subjects.result(f"{client.id}.*")
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
        for offset, (number, true_ms) in batch["readings"]:
            yield Reading(device, number, batch["at_ms"] + offset - true_ms)


def _unix(head: Any) -> float:
    stamp = head.get("Nats-Time-Stamp", "")
    # Nanoseconds are more than Python reads.
    with contextlib.suppress(ValueError):
        whole, _, fraction = stamp.rstrip("Z").partition(".")
        return datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00").timestamp()
    return 0.0
