"""``fleetbus task schedules``: tasks that the broker submits later."""

import time
from typing import Annotated

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run
from fleetbus.exits import Exit

GROUP = """Tasks that are submitted later, by 'task submit' with --at or --every."""

LIST = """List schedules, the oldest first.

Example:

  fleetbus task schedules list --json | jq -r 'select(.capability == "backup") | .id'
"""

REMOVE = """Take schedules back. Tasks that they have submitted already go on.

Example:

  fleetbus task schedules remove cli-0a1b2c3d4e.1
"""


def group() -> typer.Typer:
    """The commands below ``schedules``."""
    made = typer.Typer(help=GROUP, no_args_is_help=True)
    made.command("list", help=LIST)(list_schedules)
    made.command("remove", help=REMOVE)(remove)
    return made


def list_schedules(as_json: Json = False, url: Url = None, fleet: Fleet = None) -> None:
    run(_list(as_json, url, fleet))


def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="The schedules' ids.")],
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    raise typer.Exit(run(_remove(ids, url, fleet)))


async def _list(as_json: bool, url: str | None, fleet: str | None) -> None:
    async with connected(url, fleet) as client:
        table = console.table("id", "capability", ">priority", "when", "agents", ">input", ">age")
        async for one in client.schedules.list():
            if as_json:
                console.print_json(one)
                continue
            when = one.pattern
            if one.at_ms:
                when = f"in {console.duration(max(0.0, one.at_ms / 1000 - time.time()))} ({when})"
            table.add_row(
                one.id,
                one.capability,
                str(one.priority),
                console.clean(when),
                console.clean(one.select) or "any",
                console.size(one.size),
                console.age(one.created_ms),
            )
    if not as_json:
        if table.row_count:
            console.stdout().print(table)
        else:
            console.hint("no schedules")


async def _remove(ids: list[str], url: str | None, fleet: str | None) -> int:
    from bus.errors import TaskNotFound

    status = Exit.OK
    async with connected(url, fleet) as client:
        for schedule_id in ids:
            try:
                await client.schedules.remove(schedule_id)
            except TaskNotFound as problem:
                console.say(str(problem), "error", "31")
                status = Exit.FAILED
            else:
                print(f"{schedule_id} removed", flush=True)
    return status
