"""``fleetbus config drift``: who does not run what it should."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Select, Url, connected, run
from fleetbus.exits import Exit
from fleetbus.task.inputs import span

if TYPE_CHECKING:
    from bus import Client
    from bus.client.drift import Survey
    from bus.config.drift import Standing

HELP = """Ask every agent what configuration it runs, and show who drifts.

An agent is in sync, overridden (an operator meant it, for a time: no drift), behind (it runs
what was right earlier), rejected (it would not take what it should have), unknown (it runs what
was never on the bus), silent (no answer) or away (the link to its site is down: no drift). A
layer that was edited on the bus behind Git's back is drift too, and so is the same capability in
two versions for longer than --skew-window. Exits with 1 if anything drifts.

Examples:

  fleetbus config drift

  fleetbus config drift --wait 30s --quiet && echo all there

  fleetbus config drift --json | jq -r '.agents[] | select(.verdict == "rejected") | .agent'
"""

COLOURS = {
    "in-sync": "green",
    "overridden": "cyan",
    "behind": "yellow",
    "rejected": "red",
    "unknown": "red",
    "silent": "red",
    "away": "yellow",
}
MAX_WHY = 160
"""Characters of a reason in the table."""
PAUSE = 0.2
"""Seconds between two looks of ``--wait``."""


def drift(
    select: Select = "",
    everybody: Annotated[
        bool, typer.Option("--all", "-a", help="List agents that are in sync, too.")
    ] = False,
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            show_default=False,
            help="Look again until nothing drifts, at most for so long.",
        ),
    ] = None,
    skew_window: Annotated[
        str,
        typer.Option(metavar="DURATION", help="So long may a capability run in several versions."),
    ] = "10m",
    timeout: Annotated[
        str,
        typer.Option("--timeout", "-t", metavar="DURATION", help="Wait so long for an answer."),
    ] = "3s",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the exit status.")] = False,
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    patience = 0.0 if wait is None else span(wait)
    window = span(skew_window)
    found = run(_survey(url, fleet, select, span(timeout), window, patience))
    if as_json:
        console.print_document(summary(found, window))
    elif not quiet:
        _show(found, window, everybody)
    raise typer.Exit(Exit.FAILED if drifts(found, window) else Exit.OK)


async def _survey(
    url: str | None, fleet: str | None, select: str, timeout: float, window: float, patience: float
) -> "Survey":
    until = time.monotonic() + patience
    async with connected(url, fleet) as client:
        with console.busy("asking all agents"):
            return await _look(client, select, timeout, window, until)


async def _look(
    client: "Client", select: str, timeout: float, window: float, until: float
) -> "Survey":
    from bus.client.drift import survey

    while True:
        found = await survey(client.bus, select, timeout)
        if not drifts(found, window) or time.monotonic() >= until:
            return found
        await asyncio.sleep(PAUSE)


def drifts(found: "Survey", window: float) -> bool:
    """True if anything is not as it should be."""
    return bool(found.drifting or found.edited or found.skewed(window))


def summary(found: "Survey", window: float) -> dict[str, Any]:
    """The whole report for scripts."""
    head = found.layers.head
    return {
        "drift": drifts(found, window),
        "parity": round(found.parity, 6),
        "commit": found.layers.commit,
        "synced_ms": head.synced_ms if head else 0,
        "edited": [
            {"layer": one.layer, "at": one.at, "by": getattr(one.value, "by", "")}
            for one in found.edited
        ],
        "agents": found.standings,
        "capabilities": [
            {
                "capability": one.capability,
                "parity": round(one.parity, 6),
                "agents": one.agents,
                "since": one.since,
                "skewed": one.skewed(found.at, window),
            }
            for one in found.versions
        ],
    }


def _show(found: "Survey", window: float, everybody: bool) -> None:
    from rich.text import Text

    out = console.stdout()
    rows = [one for one in found.standings if everybody or one.verdict != "in-sync"]
    if rows:
        table = console.table("agent", "state", "has", "commit", ">for", "why")
        for one in rows:
            table.add_row(
                console.clean(one.agent),
                Text(one.verdict, COLOURS[one.verdict]),
                one.hash[:8] or "-",
                one.commit[:12] or "-",
                console.duration(found.at - one.since) if one.since else "-",
                console.clean(short(_why(one, found.at))),
            )
        out.print(table)
    for edit in found.edited:
        by = getattr(edit.value, "by", "") or "somebody"
        ago = console.duration(max(0.0, found.at - edit.at_s))
        text = f"layer {edit.layer} was edited on the bus by {by}, {ago} ago; a sync puts it back"
        out.print(Text(console.clean(text), "red"), soft_wrap=True)
    for skew in found.skewed(window):
        share = ", ".join(f"{version} on {count:,}" for version, count in skew.agents.items())
        since = console.duration(found.at - skew.since)
        out.print(
            Text.assemble(
                ("version skew ", "red"), console.clean(f"{skew.capability}: {share} for {since}")
            ),
            soft_wrap=True,
        )
    out.print(Text(coherence(found), "red" if found.drifting else "green"), soft_wrap=True)


def short(text: str) -> str:
    """No longer than a row may be; ``--json`` has it all."""
    return text if len(text) <= MAX_WHY else f"{text[: MAX_WHY - 2]} …"


def coherence(found: "Survey") -> str:
    """The whole fleet in one line."""
    if not found.standings:
        return "no agents"
    away = sum(1 for one in found.standings if one.verdict == "away")
    asked = len(found.standings) - away
    right = asked - len(found.drifting)
    head = found.layers.commit
    at = f" at {head[:12]}" if head else ""
    parts = [f"config parity {percent(found.parity)} ({right:,} of {asked:,}{at})"]
    if away:
        parts.append(f"{away:,} away")
    overridden = sum(1 for one in found.standings if one.overrides)
    if overridden:
        parts.append(f"{overridden:,} overridden")
    uneven = [one for one in found.versions if len(one.agents) > 1]
    if uneven:
        shown = ", ".join(f"{one.capability} {percent(one.parity)}" for one in uneven)
        parts.append(console.clean(f"version parity {shown}"))
    elif found.versions:
        parts.append("one version of each capability")
    return "; ".join(parts)


def percent(share: float) -> str:
    """``100 %`` only if it is all of them."""
    return "100 %" if share == 1.0 else f"{min(share * 100, 99.9):.1f} %"


def _why(one: "Standing", now: float) -> str:
    parts = [one.reason] if one.reason else []
    if one.verdict == "behind":
        parts.append("runs what was right before")
    for override in one.overrides:
        left = console.duration(max(0.0, override.until_ms / 1000 - now))
        parts.append(f"{override.path} overridden by {override.by or 'somebody'}, {left} left")
    return "; ".join(parts)
