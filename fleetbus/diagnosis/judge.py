"""The verdicts: pure functions from what was measured to findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bus import topology
from bus.config.drift import Standing
from bus.errors import TopologyConflict
from bus.wire.site import SiteRecord
from fleetbus.console import duration
from fleetbus.diagnosis.finding import Finding, Level

SKEW_WARN: Final = 1.0
SKEW_FAIL: Final = 5.0
"""Seconds by which clocks may differ: beyond that agents refuse commands as expired."""


def judge_streams(
    wanted: Mapping[str, Mapping[str, Any]], existing: Mapping[str, Mapping[str, Any]]
) -> list[Finding]:
    """Compare the fleet's streams with the plan."""
    restart = "a coordinator mends it when it starts: restart one"
    found: list[Finding] = []
    for name, want in wanted.items():
        have = {name: existing[name]} if name in existing else {}
        try:
            steps = topology.plan({name: want}, have)
        except TopologyConflict as conflict:
            found.append(
                Finding(
                    "streams",
                    "fail",
                    f"{name} is incompatible: {'; '.join(conflict.differences)}",
                    "change the setting back, or move its messages to a new stream",
                )
            )
            continue
        for step in steps:
            if step.kind == "create":
                found.append(Finding("streams", "fail", f"{name} is missing", restart))
            else:
                text = f"{name} differs from the settings here: {'; '.join(step.differences)}"
                found.append(Finding("streams", "warn", text, restart))
    if not found:
        held = sum(int(one.get("state", {}).get("messages", 0)) for one in existing.values())
        found = [Finding("streams", "ok", f"{len(wanted)} as planned, {held:,} messages in them")]
    return found


def judge_lanes(
    offered: set[str],
    lanes: Mapping[tuple[str, str], int | None],
    waiting: Mapping[str, int],
    hub: SiteRecord | None = None,
) -> list[Finding]:
    """Judge the consumers of what is offered, and what waits in the others.

    ``lanes`` gives the tasks that wait by capability and priority, None where there is no
    consumer; ``waiting`` those of all consumers by their name ``<capability>-<priority>``. At a
    site ``hub`` is its link: what nobody there offers is for the hub.
    """
    missing = sorted({name for (name, _), count in lanes.items() if count is None})
    found = [
        Finding(
            "lanes",
            "fail",
            f"capability {name} is offered and has no consumer: its tasks are not routed",
            "start a coordinator: fleetbus coordinator",
        )
        for name in missing
    ]
    for consumer, count in sorted(waiting.items()):
        name = consumer.rpartition("-")[0]
        if name in offered:
            continue
        what = f"{count:,} tasks wait for {name} ({consumer}), which no agent"
        if hub is not None:
            when = "" if hub.connected else " when the link is back"
            found.append(Finding("lanes", "ok", f"{what} here offers: the hub takes them{when}"))
        else:
            found.append(
                Finding(
                    "lanes",
                    "warn",
                    f"{what} offers",
                    f"start an agent that offers {name}, or cancel them",
                )
            )
    if not found:
        total = sum(waiting.values())
        text = f"{len(offered)} capabilities offered, {total:,} tasks wait in their lanes"
        found = [Finding("lanes", "ok", text)]
    return found


def judge_idle(standings: Sequence[Standing]) -> list[Finding]:
    """Name the agents that take no tasks, because they never had a configuration that fits."""
    return [
        Finding(
            "agents",
            "fail",
            f"agent {one.agent} takes no tasks: its configuration was rejected: {one.reason}",
            f"fleetbus config explain {one.agent} shows where each value is from; write what "
            "fits, with a sync or 'fleetbus config set'",
        )
        for one in standings
        if one.verdict == "rejected" and not one.hash
    ]


def judge_clock(skew: float, error: float) -> Finding:
    """Judge by how many seconds the server's clock is ahead, known up to ``error``."""
    if abs(skew) <= max(SKEW_WARN, error):
        return Finding("clock", "ok", f"within {duration(max(abs(skew), error))} of the server's")
    side = "behind" if skew > 0 else "ahead of"
    level: Level = "fail" if abs(skew) > SKEW_FAIL + error else "warn"
    return Finding(
        "clock",
        level,
        f"this machine is {duration(abs(skew))} {side} the server: deadlines and the expiry of "
        "commands are off by that",
        "synchronise the clocks (timedatectl set-ntp true, or chrony)",
    )
