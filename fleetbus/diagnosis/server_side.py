"""Checks of the server and of what the fleet keeps there."""

from __future__ import annotations

import time
from typing import Final

from bus import Bus, topology
from bus.client import registry
from bus.connection import ApiError
from bus.errors import BusError
from bus.subjects import PRIORITIES
from fleetbus.console import duration, size
from fleetbus.diagnosis.finding import Finding, Patient
from fleetbus.diagnosis.judge import judge_lanes, judge_streams

SMALL_PAYLOAD: Final = 64 * 1024
LARGE_PAYLOAD: Final = 8 * 1024 * 1024


async def server(patient: Patient) -> list[Finding]:
    bus = patient.bus
    begun = time.perf_counter()
    await bus.flush()
    trip = time.perf_counter() - begun
    version = bus.nc.connected_server_version
    shown = f"{version.major}.{version.minor}.{version.patch}"
    text = f"nats-server {shown}, round trip {duration(trip)}"
    return [Finding("server", "ok", text)]


async def jetstream(patient: Patient) -> list[Finding]:
    fix = "start nats-server with -js, and enable JetStream for this account (deploy/nats)"
    try:
        info = await patient.bus.api("INFO", timeout=2.0)
    except TimeoutError:
        return [
            Finding(
                "jetstream",
                "fail",
                "the JetStream API does not answer",
                f"{fix}; or allow this user to publish to $JS.API.>",
            )
        ]
    except BusError as problem:
        return [Finding("jetstream", "fail", str(problem), fix)]
    patient.jetstream = True
    level = info.get("api", {}).get("level", 0)
    patient.level = level if isinstance(level, int) else 0
    used = size(int(info.get("storage", 0)))
    found = [Finding("jetstream", "ok", f"enabled, {used} of this account's storage in use")]
    shown = f"API level {patient.level}"
    if patient.level < topology.NEEDS_LEVEL:
        found.append(
            Finding(
                "api level", "fail", f"{shown}: no message TTLs", "use nats-server 2.12 or newer"
            )
        )
    elif patient.level < topology.SCHEDULES_LEVEL:
        found.append(
            Finding(
                "api level",
                "warn",
                f"{shown} (nats-server 2.11): tasks cannot be scheduled (--at, --every)",
                "use nats-server 2.12 or newer",
            )
        )
    else:
        found.append(Finding("api level", "ok", shown))
    return found


async def streams(patient: Patient) -> list[Finding]:
    if not patient.jetstream:
        return []
    bus = patient.bus
    fleet = bus.subjects.fleet
    wanted = topology.streams(bus.subjects, patient.settings, patient.level)
    for name in wanted:
        try:
            patient.streams[name] = await bus.api(f"STREAM.INFO.{name}")
        except ApiError as error:
            if error.code != ApiError.NO_STREAM:
                raise
    if not patient.streams:
        start = f"start a coordinator: fleetbus coordinator --fleet {fleet}"
        return [
            Finding(
                "streams",
                "fail",
                f"fleet {fleet!r} has none on this server",
                f"check the fleet's name, or {start}",
            )
        ]
    return judge_streams(wanted, patient.streams)


async def lanes(patient: Patient) -> list[Finding]:
    bus = patient.bus
    if bus.subjects.tasks_stream not in patient.streams:
        return []
    pending = await _pending(bus)
    offered = {c.name async for card in registry.cards(bus) for c in card.capabilities}
    return judge_lanes(
        offered,
        {
            (name, priority): pending.get(bus.subjects.consumer(name, priority))
            for name in offered
            for priority in PRIORITIES
        },
        {name: count for name, count in pending.items() if count},
        patient.hub,
    )


async def _pending(bus: Bus) -> dict[str, int]:
    """Tasks not yet given out, by consumer."""
    found: dict[str, int] = {}
    while True:
        page = await bus.api(f"CONSUMER.LIST.{bus.subjects.tasks_stream}", {"offset": len(found)})
        consumers = page.get("consumers") or []
        for one in consumers:
            found[str(one.get("name", ""))] = int(one.get("num_pending", 0))
        if not consumers or len(found) >= int(page.get("total", 0)):
            return found


async def payload(patient: Patient) -> list[Finding]:
    limit = patient.bus.max_payload
    text = f"messages up to {size(limit)}; bigger payloads go by reference"
    if limit < SMALL_PAYLOAD:
        return [Finding("max payload", "warn", text, "raise max_payload to 1MB")]
    if limit > LARGE_PAYLOAD:
        return [
            Finding(
                "max payload",
                "warn",
                f"{text}: a message of this size holds up all behind it",
                "lower max_payload to 1MB",
            )
        ]
    return [Finding("max payload", "ok", text)]


async def durability(patient: Patient) -> list[Finding]:
    info = patient.streams.get(patient.bus.subjects.tasks_stream)
    if info is None:
        return []
    config = info["config"]
    if config.get("storage") == "memory":
        return [
            Finding(
                "durability",
                "warn",
                "tasks are kept in memory: they are lost with the server process",
                "set FLEETBUS_TOPOLOGY_STORAGE=file before the fleet is set up",
            )
        ]
    copies = int(config.get("num_replicas", 1))
    if copies > 1:
        return [Finding("durability", "ok", f"{copies} copies of each stream")]
    return [
        Finding(
            "durability",
            "warn",
            "one copy of each stream: a killed server loses nothing, but a power cut can cost "
            "the writes of the last two minutes unless the server syncs more often, and a lost "
            "disk costs all",
            "three servers and FLEETBUS_TOPOLOGY_REPLICAS=3, or sync_interval: always in the "
            "server's jetstream block",
        )
    ]
