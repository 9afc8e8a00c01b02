"""``fleetbus config override`` and ``clear``: values on running agents, for a time."""

from typing import Annotated, Any

import typer

from fleetbus.broadcast import send
from fleetbus.connection import Fleet, Json, Url, connected, run
from fleetbus.exits import Exit
from fleetbus.task.inputs import span

OVERRIDE = """Set values on running agents for a time, over all layers.

An override is in the agent's memory only: it ends by itself, and with the process. It is shown
as what it is by 'drift' and 'explain'. An agent whose configuration it would break refuses it.

Examples:

  fleetbus config override llm.model=small --select agent=summarizer-1 --ttl 30m

  fleetbus config override log.level=debug --select 'site=berlin' --ttl 10m
"""

CLEAR = """End overrides before their time.

Examples:

  fleetbus config clear --select agent=summarizer-1

  fleetbus config clear llm.model --select 'site=berlin'
"""

Selection = Annotated[
    str,
    typer.Option(
        "--select", "-s", metavar="SELECTOR", help="The agents that match; '' for all of them."
    ),
]
Patience = Annotated[
    str, typer.Option("--timeout", "-t", metavar="DURATION", help="Wait so long for answers.")
]


def override(
    pairs: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE", help="What to set, as for 'config set'.")
    ],
    select: Selection,
    ttl: Annotated[
        str, typer.Option(metavar="DURATION", help="When it ends by itself, at most 7 days.")
    ],
    timeout: Patience = "10s",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    from bus.errors import InvalidPath
    from fleetbus.config.assignments import assigned

    try:
        values = assigned(pairs)
    except (ValueError, InvalidPath) as problem:
        raise typer.BadParameter(str(problem)) from None
    args = {"values": values, "ttl": span(ttl)}
    raise typer.Exit(run(_send("config-override", args, select, timeout, as_json, url, fleet)))


def clear(
    select: Selection,
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY", show_default=False, help="Only these; else all."),
    ] = None,
    timeout: Patience = "10s",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    from bus.config import paths
    from bus.errors import InvalidPath

    try:
        named = [paths.shown(paths.parse(key)) for key in keys or []]
    except InvalidPath as problem:
        raise typer.BadParameter(str(problem)) from None
    args = {"keys": named}
    raise typer.Exit(run(_send("config-clear", args, select, timeout, as_json, url, fleet)))


async def _send(
    verb: str,
    args: dict[str, Any],
    select: str,
    timeout: str,
    as_json: bool,
    url: str | None,
    fleet: str | None,
) -> Exit:
    from bus.client import records

    async with connected(url, fleet) as client:
        options = {"select": select, "timeout": span(timeout)}
        # Before it is done: an auditor would rather read of one that failed.
        actor = records.person()
        await records.audit(client.bus, verb, actor=actor, target=select, data=args)
        return await send(client, verb, args, options, 1.0, as_json=as_json)
