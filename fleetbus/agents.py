"""``fleetbus agents``: who is there, how busy they are, and one of them in full."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bus.errors import FleetError
from fleetbus import console
from fleetbus.connection import Fleet, Json, Select, Url, connected, run

if TYPE_CHECKING:
    from rich.table import Table

    from bus import Client
    from bus.wire import Heartbeat
    from fleetbus.roster import Row

HELP = """List the fleet's agents and how busy they are.

Load comes from heartbeats, so this listens for about one heartbeat interval (a second in a
small fleet). An agent that has not been heard by then is shown as 'silent', or as 'quiet' if it
is a device that speaks more seldom; one that promised to be heard and was not is 'late'.

Examples:

  fleetbus agents

  fleetbus agents --select 'site=berlin,!gpu' --watch

  fleetbus agents --json | jq -r '.[] | select(.running > 0) | .agent'

  fleetbus agents show summarizer-1
"""

Listen = Annotated[
    float | None,
    typer.Option(
        "--listen",
        metavar="SECONDS",
        min=0.0,
        show_default=False,
        help="How long to listen for load. Else 1.3 heartbeat intervals.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add ``agents`` to the command line."""
    group = typer.Typer(help=HELP)
    group.callback(invoke_without_command=True)(agents)
    group.command("show")(show)
    app.add_typer(group, name="agents")


def agents(
    context: typer.Context,
    select: Select = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep the table up to date until Ctrl-C.")
    ] = False,
    as_json: Json = False,
    listen: Listen = None,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    if context.invoked_subcommand is not None:
        # fleetbus agents --fleet prod show x: what was said before counts after, too.
        context.obj = {"url": url, "fleet": fleet, "as_json": as_json, "listen": listen}
        return
    if watch:
        run(_watch(url, fleet, select, as_json))
    else:
        run(_list(url, fleet, select, as_json, listen))


def show(
    context: typer.Context,
    agent: Annotated[str, typer.Argument(metavar="ID", help="The agent's id.")],
    as_json: Json = False,
    listen: Listen = None,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    """Show one agent: its card, its load, and the schemas of its capabilities."""
    before: dict[str, Any] = context.obj or {}
    run(
        _show(
            agent,
            as_json or before.get("as_json", False),
            listen if listen is not None else before.get("listen"),
            url or before.get("url"),
            fleet or before.get("fleet"),
        )
    )


async def _list(
    url: str | None, fleet: str | None, select: str, as_json: bool, listen: float | None
) -> None:
    from fleetbus.roster import Roster

    async with connected(url, fleet) as client, Roster(client.bus, select) as roster:
        await roster.heard(listen)
        rows = roster.rows()
        if as_json:
            console.print_document([row.summary() for row in rows])
        elif rows:
            console.stdout().print(_table(rows))
        else:
            which = f" that matches {select!r}" if select else ""
            console.hint(
                f"fleet {client.bus.subjects.fleet!r} has no agent{which}: "
                "start one with 'fleetbus agent run'"
            )


async def _watch(url: str | None, fleet: str | None, select: str, as_json: bool) -> None:
    from rich.live import Live

    from fleetbus.roster import Roster

    async with connected(url, fleet) as client, Roster(client.bus, select) as roster:
        await roster.heard()
        out = console.stdout()
        if as_json or not out.is_terminal:
            while True:
                if as_json:
                    console.print_json([row.summary() for row in roster.rows()])
                else:
                    out.print(_table(roster.rows()))
                await asyncio.sleep(1.0)
        with Live(_table(roster.rows()), console=out, auto_refresh=False, screen=True) as live:
            while True:
                await asyncio.sleep(0.5)
                live.update(_table(roster.rows()), refresh=True)


async def _show(
    agent: str, as_json: bool, listen: float | None, url: str | None, fleet: str | None
) -> None:
    from bus.subjects import token
    from fleetbus.roster import Roster

    select = f"agent={token('agent', agent)}"
    async with connected(url, fleet) as client, Roster(client.bus, select) as roster:
        await roster.heard(listen)
        row = roster.row(agent)
        if row is None:
            raise await _unknown(client, agent)
        if as_json:
            console.print_document({"state": row.state(), "card": row.card, "load": row.load})
        else:
            _describe(row)


async def _unknown(client: "Client", agent: str) -> FleetError:
    from difflib import get_close_matches

    ids = [card.agent for card in await client.agents()]
    near = get_close_matches(agent, ids, 3, 0.5)
    guess = f"; similar are {', '.join(near)}" if near else ""
    return FleetError(
        f"fleet {client.bus.subjects.fleet!r} has no agent {agent!r}{guess}. "
        "'fleetbus agents' lists all"
    )


def _table(rows: "list[Row]") -> "Table":
    from rich.text import Text

    from fleetbus.roster import COLOURS

    table = console.table(
        "agent",
        "site",
        "state",
        "capabilities",
        ">busy",
        ">queued",
        ">done",
        ">failed",
        ">service",
        ">cpu",
        ">rss",
        ">age",
        "version",
    )
    for row in rows:
        card, load, state = row.card, row.load, row.state()
        table.add_row(
            console.clean(card.agent),
            console.clean(card.site),
            Text(_state(row), COLOURS.get(state, "")),
            console.clean(" ".join(one.name for one in card.capabilities)),
            f"{load.running}/{load.slots}" if load else "-",
            f"{load.queued}/{max(0, load.window - load.slots)}" if load else "-",
            f"{load.done:,}" if load else "-",
            f"{load.failed:,}" if load else "-",
            _service(load.service_ms) if load else "-",
            f"{load.cpu:.0%}" if load else "-",
            console.size(load.rss) if load and load.rss else "-",
            console.age(card.started_ms),
            console.clean(card.runtime),
        )
    return table


def _state(row: "Row") -> str:
    state, load = row.state(), row.load
    if row.away_ms:
        return f"{state} for {console.age(row.away_ms)}"
    if load is not None and state == "draining" and load.rejected and not load.config:
        return "draining: configuration rejected"
    return state


def _service(service_ms: dict[str, float]) -> str:
    if not service_ms:
        return "-"
    low, high = (console.duration(f(service_ms.values()) / 1000) for f in (min, max))
    return low if low == high else f"{low} to {high}"


def _config(load: "Heartbeat") -> str:
    parts = [load.config[:8] or "none yet"]
    if load.commit:
        parts.append(f"commit {load.commit}")
    if load.overrides:
        parts.append(f"{load.overrides} overridden")
    if load.rejected:
        parts.append(f"rejected {load.rejected[:8]} ('fleetbus config drift' says why)")
    return ", ".join(parts)


def _describe(row: "Row") -> None:
    from rich.json import JSON

    out, card, load = console.stdout(), row.card, row.load
    facts = {
        "agent": card.agent,
        "site": card.site,
        "state": _state(row),
        "labels": ", ".join(f"{k}={v}" for k, v in sorted(card.labels.items())) or "-",
        "process": f"{card.pid} on {card.host}, {card.runtime}",
        "age": console.age(card.started_ms),
        "incarnation": card.incarnation,
        "commands": " ".join(card.commands) or "-",
        "slots": str(card.slots),
    }
    if load is not None:
        facts |= {
            "load": f"{load.running} running, {load.queued} queued, window {load.window}",
            "ended": f"{load.done:,}, of them failed {load.failed:,}",
            "cpu": f"{load.cpu:.0%} of a core",
            "memory": console.size(load.rss) if load.rss else "-",
            "config": _config(load),
        }
    for name, value in facts.items():
        out.print(f"{name:12} {console.clean(value)}", soft_wrap=True)
    for one in card.capabilities:
        ms = load.service_ms.get(one.name) if load is not None else None
        took = f", takes {console.duration(ms / 1000)}" if ms is not None else ""
        cost = f", costs {one.cost:g}" if one.cost else ""
        tags = f" [{' '.join(one.tags)}]" if one.tags else ""
        title = f"capability   {one.name} {one.version}{took}{cost}{tags}"
        out.print()
        out.print(console.clean(title), style="bold", soft_wrap=True)
        for line in one.description.splitlines():
            out.print(f"  {console.clean(line)}", soft_wrap=True)
        for side, schema in (("input", one.input_schema), ("output", one.output_schema)):
            if schema:
                out.print(f"  {side}")
                out.print(JSON(console.to_json(schema), indent=2), soft_wrap=True)
