"""Checks that try something: they listen, connect, ask, and change nothing."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

from bus import codec
from bus.client import registry
from bus.client.drift import survey
from bus.client.timing import unix_time
from bus.connection import connect
from bus.errors import TopologyMissing
from bus.subjects import DISCONNECTS
from bus.transport import Inbound
from bus.wire import CoordinatorBeat
from bus.wire import headers as h
from bus.wire.task import ErrorInfo
from fleetbus.console import duration
from fleetbus.diagnosis.finding import Finding, Patient
from fleetbus.diagnosis.judge import judge_clock, judge_idle

LISTEN: Final = 1.5
"""Seconds to listen for coordinators: they announce themselves every second."""

ANSWER_WAIT: Final = 1.0
"""Seconds that agents have to say how their configuration stands."""

EVENT_WAIT: Final = 1.0
"""Seconds to wait for the server's disconnect event; it comes in milliseconds."""


async def coordinators(patient: Patient) -> list[Finding]:
    bus = patient.bus
    alive: dict[str, CoordinatorBeat] = {}

    def on_beat(message: Inbound) -> None:
        beat = codec.decode(CoordinatorBeat, message.data, "coordinator announcement")
        if beat.leaving:
            alive.pop(beat.coordinator, None)
        else:
            alive[beat.coordinator] = beat

    subscription = await bus.listen(bus.subjects.coordinators, on_beat)
    try:
        await asyncio.sleep(LISTEN)
    finally:
        await bus.unlisten(subscription)
    if not alive:
        fleet = bus.subjects.fleet
        return [
            Finding(
                "coordinators",
                "fail",
                f"none announced itself in {LISTEN:g} s: no task of fleet {fleet!r} is routed",
                f"fleetbus coordinator --fleet {fleet}",
            )
        ]
    held = sum(beat.held for beat in alive.values())
    return [Finding("coordinators", "ok", f"{len(alive)} alive, {held:,} tasks held for room")]


async def agents(patient: Patient) -> list[Finding]:
    try:
        count = len([card async for card in registry.cards(patient.bus)])
    except TopologyMissing:
        # The streams' check has said so.
        return []
    if count:
        return [Finding("agents", "ok", f"{count} registered")]
    return [Finding("agents", "warn", "none is registered", "fleetbus agent run path.py:agent")]


async def configuration(patient: Patient) -> list[Finding]:
    try:
        found = await survey(patient.bus, timeout=ANSWER_WAIT)
    except TopologyMissing:
        return []
    findings = [
        Finding("config", "warn", f"key {key} does not count: {why}", "fleetbus config sync")
        for key, why in found.state.ignored.items()
    ]
    if found.edited:
        names = ", ".join(one.layer for one in found.edited[:5])
        text = f"edited on the bus behind Git's back: {names}"
        findings.append(Finding("config", "warn", text, "fleetbus config sync"))
    if found.drifting:
        names = ", ".join(one.agent for one in found.drifting[:5])
        text = f"{len(found.drifting)} of {len(found.standings)} agents drift: {names}"
        findings.append(Finding("config", "warn", text, "fleetbus config drift"))
    if not findings:
        findings.append(Finding("config", "ok", f"{len(found.layers.stored)} layers, no drift"))
    return [*judge_idle(found.standings), *findings]


async def disconnects(patient: Patient) -> list[Finding]:
    bus = patient.bus
    name = f"doctor:{os.urandom(6).hex()}"
    seen = asyncio.Event()

    def on_event(message: Inbound) -> None:
        if name.encode() in message.data:
            seen.set()

    subscription = await bus.listen(DISCONNECTS, on_event)
    try:
        await bus.flush()
        s = bus.settings
        given = {field: getattr(s, field) for field in s.__struct_fields__}
        begun = time.perf_counter()
        async with connect(**{**given, "name": name}):
            begun = time.perf_counter()
        async with asyncio.timeout(EVENT_WAIT):
            await seen.wait()
    except TimeoutError:
        return [
            Finding(
                "disconnects",
                "warn",
                "the server does not tell the fleet of lost connections: a dead agent is "
                "noticed by its heartbeats, in seconds instead of milliseconds",
                "export $SYS.ACCOUNT.<account>.DISCONNECT to this account and import it as "
                f"{DISCONNECTS} (deploy/nats/accounts.conf)",
            )
        ]
    finally:
        await bus.unlisten(subscription)
    took = duration(time.perf_counter() - begun)
    return [Finding("disconnects", "ok", f"the server tells of a lost connection in {took}")]


async def permissions(patient: Patient) -> list[Finding]:
    bus, subjects = patient.bus, patient.bus.subjects
    reads = (
        subjects.heartbeats,
        subjects.adverts,
        subjects.coordinators,
        subjects.dones,
        subjects.events,
    )
    subscriptions = [await bus.listen(subject, lambda _: None) for subject in reads]
    # Refused by the stream, if the server lets it get there: nothing is stored or started.
    elsewhere = h.encode([("Nats-Expected-Stream", "fleetbus-doctor")])
    nobody = f"doctor-{os.urandom(6).hex()}"
    writes = {
        subjects.task(nobody, "p1", f"{nobody}.1"): (b"", elsewhere),
        # Coordinators read what is canceled anywhere.
        subjects.cancel(nobody, f"{nobody}.1"): (codec.encode(ErrorInfo("a look by doctor")), b""),
        subjects.command_agent(nobody): (b"", b""),
    }
    try:
        for subject, (body, block) in writes.items():
            bus.send(subject, body, block=block)
        await bus.flush()
    finally:
        for subscription in subscriptions:
            await bus.unlisten(subscription)
    denied = [
        *(f"subscribe to {subject}" for subject in reads if bus.denied(subject)),
        *(f"publish to {subject}" for subject in writes if bus.denied(subject)),
    ]
    if not denied:
        return [
            Finding("permissions", "ok", "this user may read the fleet, submit tasks and command")
        ]
    return [
        Finding(
            "permissions",
            "warn",
            f"this user may not {what}",
            "grant it in the server's configuration, if this user should",
        )
        for what in denied
    ]


async def clock(patient: Patient) -> list[Finding]:
    bus = patient.bus
    if bus.subjects.tasks_stream not in patient.streams:
        return []
    before = time.time()
    info = await bus.api(f"STREAM.INFO.{bus.subjects.tasks_stream}")
    after = time.time()
    try:
        stamp = unix_time(str(info.get("ts", "")))
    except ValueError:
        return [Finding("clock", "warn", "the server does not tell its time")]
    return [judge_clock(stamp - (before + after) / 2, (after - before) / 2)]
