"""``fleetbus task get`` and ``fleetbus task cancel``."""

from typing import Annotated

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run
from fleetbus.exits import Exit
from fleetbus.task import show

GET = """Show a task's result, or that it has none yet.

Exits with 0 if the task completed, 1 if it failed, was canceled or expired, 4 if it is not
done yet.

Examples:

  fleetbus task get cli-0a1b2c3d4e.1

  fleetbus task get cli-0a1b2c3d4e.1 --json | jq .usage
"""

CANCEL = """Cancel tasks, whether they wait, run or are scheduled.

A task that has ended keeps its result; then the exit status is 1.

Examples:

  fleetbus task cancel cli-0a1b2c3d4e.1 --reason 'wrong file'

  fleetbus task list --ids --json | jq -r '.ids[].task' | xargs fleetbus task cancel
"""

Id = Annotated[str, typer.Argument(metavar="ID", help="The task's id, as submit printed it.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="The tasks' ids.")]


def get(task_id: Id, as_json: Json = False, url: Url = None, fleet: Fleet = None) -> None:
    raise typer.Exit(run(_get(task_id, as_json, url, fleet)))


def cancel(
    task_ids: Ids,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", show_default=False, help="Kept with the result.")
    ] = "",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    raise typer.Exit(run(_cancel(task_ids, reason, as_json, url, fleet)))


async def _get(task_id: str, as_json: bool, url: str | None, fleet: str | None) -> int:
    from bus.wire.result import Result

    async with connected(url, fleet) as client:
        found = await client.get(task_id)
    if isinstance(found, Result):
        return show.end(found, as_json)
    if as_json:
        console.print_json({"task": task_id, "state": found})
    else:
        print(found)
    return Exit.TIMEOUT


async def _cancel(
    task_ids: list[str], reason: str, as_json: bool, url: str | None, fleet: str | None
) -> int:
    from bus.errors import TaskNotFound

    status = Exit.OK
    async with connected(url, fleet) as client:
        for task_id in task_ids:
            try:
                won = await client.cancel(task_id, reason)
            except TaskNotFound as problem:
                console.say(str(problem), "error", "31")
                status = Exit.FAILED
                continue
            if not won:
                status = Exit.FAILED
            if as_json:
                console.print_json({"task": task_id, "canceled": won})
            else:
                print(f"{task_id} {'canceled' if won else 'had ended before'}")
    return status
