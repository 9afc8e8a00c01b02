"""All checks, in the order in which one builds on another."""

from __future__ import annotations

from typing import Final

from bus import Bus
from bus.errors import FleetError
from bus.topology import TopologySettings
from fleetbus.diagnosis import links, live, server_side
from fleetbus.diagnosis.finding import Check, Finding, Patient

CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("server", server_side.server),
    ("jetstream", server_side.jetstream),
    ("streams", server_side.streams),
    ("sites", links.sites),
    ("lanes", server_side.lanes),
    ("coordinators", live.coordinators),
    ("agents", live.agents),
    ("config", live.configuration),
    ("disconnects", live.disconnects),
    ("permissions", live.permissions),
    ("clock", live.clock),
    ("max payload", server_side.payload),
    ("durability", server_side.durability),
)


async def examine(bus: Bus, settings: TopologySettings) -> list[Finding]:
    """Run all checks on an open connection. What a check raises is what it found."""
    patient = Patient(bus, settings)
    findings: list[Finding] = []
    for name, check in CHECKS:
        try:
            findings += await check(patient)
        except (FleetError, TimeoutError) as problem:
            findings.append(Finding(name, "fail", str(problem)))
    return findings
