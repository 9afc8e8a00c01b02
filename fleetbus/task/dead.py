"""``fleetbus task dead``: tasks that ran out of attempts."""

from typing import Annotated

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run
from fleetbus.exits import Exit

GROUP = """Tasks that ran out of attempts: look at them, and try them again."""

LIST = """List dead tasks, the oldest first, with the reason.

Examples:

  fleetbus task dead list --capability resize

  fleetbus task dead list --json | jq -r .error.message | sort | uniq -c
"""

RETRY = """Submit dead tasks again, each as a new task with attempts of its own.

Prints the old id and the new one. The old result stays: failed.

Examples:

  fleetbus task dead retry cli-0a1b2c3d4e.1

  fleetbus task dead retry --all --capability resize
"""

Capability = Annotated[
    str | None,
    typer.Option("--capability", "-c", metavar="NAME", show_default=False, help="Only these."),
]


def group() -> typer.Typer:
    """The commands below ``dead``."""
    made = typer.Typer(help=GROUP, no_args_is_help=True)
    made.command("list", help=LIST)(list_dead)
    made.command("retry", help=RETRY)(retry)
    return made


def list_dead(
    capability: Capability = None, as_json: Json = False, url: Url = None, fleet: Fleet = None
) -> None:
    run(_list(capability, as_json, url, fleet))


def retry(
    task_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", show_default=False, help="The dead tasks' ids."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead tasks.")] = False,
    capability: Capability = None,
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    if bool(task_ids) == everything:
        raise typer.BadParameter("give the ids of dead tasks, or --all")
    if capability is not None and not everything:
        raise typer.BadParameter("--capability goes with --all")
    raise typer.Exit(run(_retry(task_ids or [], capability, as_json, url, fleet)))


async def _list(capability: str | None, as_json: bool, url: str | None, fleet: str | None) -> None:
    from bus.subjects import token

    pattern = "*" if capability is None else token("capability", capability)
    async with connected(url, fleet) as client:
        table = console.table("task", "capability", ">attempts", "agent", ">age", ">input", "error")
        async for dead in client.dead.list(pattern):
            if as_json:
                console.print_json(dead)
                continue
            kind = f"{dead.error.kind}: " if dead.error.kind else ""
            table.add_row(
                dead.task,
                dead.capability,
                str(dead.attempt),
                console.clean(dead.agent) or "-",
                console.age(dead.dead_ms),
                console.size(len(dead.payload)),
                console.clean(kind + dead.error.message),
            )
    if not as_json:
        if table.row_count:
            console.stdout().print(table)
        else:
            console.hint("no dead tasks")


async def _retry(
    task_ids: list[str],
    capability: str | None,
    as_json: bool,
    url: str | None,
    fleet: str | None,
) -> int:
    from bus.errors import TaskNotFound
    from bus.subjects import token

    pattern = "*" if capability is None else token("capability", capability)
    status = Exit.OK
    async with connected(url, fleet) as client:
        if not task_ids:
            task_ids = [dead.task async for dead in client.dead.list(pattern)]
        for task_id in task_ids:
            try:
                handle = await client.dead.retry(task_id)
            except TaskNotFound as problem:
                console.say(str(problem), "error", "31")
                status = Exit.FAILED
                continue
            if as_json:
                console.print_json({"dead": task_id, "task": handle.id})
            else:
                print(f"{task_id} {handle.id}", flush=True)
    if not task_ids:
        console.hint("no dead tasks")
    return status
