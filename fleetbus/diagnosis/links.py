"""The links between a hub and its sites, seen from the side that is examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bus.errors import TopologyMissing
from bus.wire.site import SiteRecord
from fleetbus import site_link, site_list
from fleetbus.console import age
from fleetbus.diagnosis.finding import Finding, Patient

NAMED: Final = 20
"""Sites that are away and told of one by one."""


async def sites(patient: Patient) -> list[Finding]:
    """Nothing where there are no sites."""
    bus = patient.bus
    if bus.subjects.config_stream not in patient.streams:
        return []
    try:
        record = patient.hub = await site_link.own(bus)
        if record is not None:
            return [judge_hub(await site_link.look(bus, record))]
        return judge_sites(await site_list.read(bus, listen=False))
    except TopologyMissing:
        return []  # the streams' check has said so


def judge_hub(link: site_link.Upward) -> Finding:
    """A site's own link. Pure but for the clock."""
    record = link.record
    if record.connected:
        text = f"this is site {record.site}, connected to the hub for {age(record.since_ms)}"
        return Finding("sites", "ok", text)
    behind = sum(link.lag.values())
    return Finding(
        "sites",
        "warn",
        f"this is site {record.site}, and its link to the hub is {_down(record)}; {link.waiting:,} "
        f"tasks and {behind:,} results and other messages wait for it",
        "see that the hub's port for sites (leaf.conf) can be reached; nothing is lost until then, "
        "and nothing that waits need be canceled",
    )


def judge_sites(rows: Sequence[site_list.Row]) -> list[Finding]:
    """The links of a hub. Pure but for the clock."""
    away = [(row, row.record) for row in rows if row.record is not None and not row.connected]
    found = [
        Finding(
            "sites",
            "warn",
            f"site {row.name} is disconnected, {_down(record)}: {row.agents:,} agents, "
            f"{row.waiting:,} tasks wait for it",
            "see that its server and its coordinator run and can reach this one ('fleetbus doctor' "
            f"there says more); 'fleetbus site forget {row.name}' if it will not come back",
        )
        for row, record in away[:NAMED]
    ]
    if len(away) > NAMED:
        text = f"{len(away) - NAMED:,} more sites are disconnected"
        found.append(Finding("sites", "warn", text, "fleetbus site list"))
    connected = sum(row.connected for row in rows)
    if connected:
        found.append(Finding("sites", "ok", f"{connected:,} of {len(rows):,} connected"))
    return found


def _down(record: SiteRecord) -> str:
    why = f" ({record.why})" if record.why else ""
    return f"down for {age(record.since_ms)}{why}"
