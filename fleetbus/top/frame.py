"""One frame of ``top``. Pure: a snapshot in, something for rich out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fleetbus import console
from fleetbus.roster import COLOURS
from fleetbus.top.snapshot import Share, Snapshot

if TYPE_CHECKING:
    from bus.wire.event import Event
    from fleetbus.roster import Row

EVENT: Final = {"joined": "green", "lost": "red", "suspect": "yellow", "draining": "yellow"}
HEAD: Final = 4
"""Lines above the agents."""
AROUND: Final = 3
"""Lines of a table that are no rows: its head, and a blank after it."""
ROOMY: Final = 32
"""Lines from which on coordinators have a table of their own."""

NAMED: Final = 3
"""Sites that are away and named in the head."""


def frame(snapshot: Snapshot, height: int | None = None) -> RenderableType:
    """The whole fleet. With ``height``, no more lines than that; the busiest stay."""
    agents, lanes = len(snapshot.rows), len(snapshot.lanes)
    coordinators, events = len(snapshot.coordinators), min(10, len(snapshot.events))
    if height is not None:
        lanes = min(lanes, max(2, height // 8))
        coordinators = 0 if height < ROOMY else min(coordinators, height // 10)
        events = min(events, max(2, height // 6))
        below = sum(count + AROUND for count in (lanes, coordinators) if count) + events
        agents = max(1, height - HEAD - AROUND - 1 - below)
    parts: list[RenderableType] = [*_head(snapshot), Text(), _agents(snapshot, agents), Text()]
    if lanes:
        parts += [_lanes(snapshot, lanes), Text()]
    if coordinators:
        parts += [_coordinators(snapshot, coordinators), Text()]
    parts += [_event(one, snapshot.at) for one in snapshot.events[:events]]
    return Group(*parts)


def _head(snapshot: Snapshot) -> list[Text]:
    loads = [row.load for row in snapshot.rows if row.load is not None]
    slots = sum(load.slots for load in loads)
    running = sum(load.running for load in loads)
    queued = sum(load.queued for load in loads)
    waiting = sum(lane.waiting for lane in snapshot.lanes)
    held = sum(lane.held for lane in snapshot.lanes)
    states = [row.state() for row in snapshot.rows]
    late = sum(one not in ("ready", "quiet", "draining", "away") for one in states)
    away = states.count("away")
    first = Text.assemble(
        (f"fleet {snapshot.fleet}", "bold"),
        f" on {console.clean(snapshot.url)}  ",
        time.strftime("%H:%M:%S", time.localtime(snapshot.at)),
    )
    if not snapshot.connected:
        first.append("  disconnected: what you see is old", "bold red")
    first.append_text(_links(snapshot))
    second = Text(
        f"agents {len(snapshot.rows)}  busy {running}/{slots}  queued {queued}  "
        f"done/s {sum(snapshot.rates.values()):,.1f}  waiting {waiting:,}  held {held:,}"
    )
    count = len(snapshot.coordinators)
    second.append(f"  coordinators {count}", "" if count else "red")
    if away:
        second.append(f"  away {away}", "yellow")
    if late:
        second.append(f"  late {late}", "red")
    second.append(f"  dead {snapshot.dead:,}", "red" if snapshot.dead else "")
    third = Text(f"latency  queued {_share(snapshot.queued)}   ran {_share(snapshot.ran)}")
    return [first, second, third]


def _links(snapshot: Snapshot) -> Text:
    """At a site the link to the hub, at the hub those to its sites; else nothing."""
    text = Text()
    hub = snapshot.hub
    if hub is not None:
        text.append(f"  site {console.clean(hub.site)}, hub ")
        if hub.connected:
            text.append("connected", "green")
        else:
            text.append(f"away for {console.age(hub.since_ms, snapshot.at)}", "red")
    if snapshot.sites:
        text.append(f"  sites {len(snapshot.sites)}")
        gone = [one for one in snapshot.sites if not one.connected]
        for one in gone[:NAMED]:
            age = console.age(one.since_ms, snapshot.at)
            text.append(f"  {console.clean(one.site)} away for {age}", "red")
        if len(gone) > NAMED:
            text.append(f" and {len(gone) - NAMED} more", "red")
    return text


def _share(share: Share | None) -> str:
    if share is None:
        return "-"
    return f"p50 {console.duration(share.median / 1000)} p99 {console.duration(share.p99 / 1000)}"


def _agents(snapshot: Snapshot, count: int) -> RenderableType:
    table = console.table(
        "agent",
        "site",
        "state",
        ">busy",
        "",
        ">queued",
        ">done/s",
        ">done",
        ">failed",
        ">cpu",
        ">rss",
    )
    for row in snapshot.rows[:count]:
        _agent(table, row, snapshot.rates.get(row.card.agent))
    if not snapshot.rows:
        return Text("no agents: start one with 'fleetbus agent run'", "yellow")
    more = len(snapshot.rows) - count
    if more > 0:
        return Group(table, Text(f"and {more} more that are less busy", "dim"))
    return table


def _agent(table: Table, row: Row, rate: float | None) -> None:
    card, load, state = row.card, row.load, row.state()
    table.add_row(
        console.clean(card.agent),
        console.clean(card.site),
        Text(state, COLOURS.get(state, "")),
        f"{load.running}/{load.slots}" if load else "-",
        _bar(load.running, load.slots) if load else "",
        str(load.queued) if load else "-",
        "-" if rate is None else f"{rate:,.1f}",
        f"{load.done:,}" if load else "-",
        Text(f"{load.failed:,}", "red" if load.failed else "") if load else "-",
        f"{load.cpu:.0%}" if load else "-",
        console.size(load.rss) if load and load.rss else "-",
    )


def _bar(running: int, slots: int, width: int = 10) -> Text:
    full = min(width, round(width * running / max(1, slots)))
    style = "red" if running >= slots else "green"
    return Text.assemble(("█" * full, style), ("·" * (width - full), "dim"))


def _lanes(snapshot: Snapshot, count: int) -> RenderableType:
    table = console.table("queue", ">priority", ">waiting", ">held", "")
    fullest = sorted(snapshot.lanes, key=lambda lane: lane.waiting + lane.held, reverse=True)
    for lane in fullest[:count]:
        note = Text("" if lane.served else "no agent offers it", "yellow")
        table.add_row(
            console.clean(lane.capability),
            str(lane.priority),
            f"{lane.waiting:,}",
            f"{lane.held:,}",
            note,
        )
    return table


def _coordinators(snapshot: Snapshot, count: int) -> RenderableType:
    table = console.table("coordinator", "process", ">agents", ">held", ">forwarded", ">age")
    for beat in snapshot.coordinators[:count]:
        table.add_row(
            console.clean(beat.coordinator),
            console.clean(f"{beat.pid} on {beat.host}"),
            str(beat.agents),
            str(beat.held),
            f"{beat.forwarded:,}",
            console.age(beat.started_ms, snapshot.at),
        )
    return table


def _event(one: Event, now: float) -> Text:
    return Text.assemble(
        (f"{console.age(one.at_ms, now):>8} ", "dim"),
        (console.clean(one.kind), EVENT.get(one.kind, "")),
        f" {console.clean(one.subject_id)}",
        (f"  {console.clean(console.to_json(one.data))}" if one.data else "", "dim"),
    )
