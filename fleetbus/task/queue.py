"""``fleetbus task list``: what waits, what is held, and what ended last."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run

if TYPE_CHECKING:
    from bus import Client

HELP = """Count the tasks that wait and that are held, by capability and priority.

'Held' tasks are given out and not done: they run or are queued on an agent, or a coordinator
has them and no agent has room.

Examples:

  fleetbus task list

  fleetbus task list --capability summarize --ids

  fleetbus task list --results 20 --json | jq '.results[] | select(.state != "completed")'
"""

LIMIT = 1000
"""Ids that are shown to people; --json has all."""


def list_tasks(
    capability: Annotated[
        str | None,
        typer.Option("--capability", "-c", metavar="NAME", show_default=False, help="Only this."),
    ] = None,
    ids: Annotated[
        bool, typer.Option("--ids", help="List the ids of tasks not done, too.")
    ] = False,
    results: Annotated[
        int, typer.Option("--results", "-n", metavar="N", min=0, max=1000, help="Latest results.")
    ] = 0,
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    run(_list(capability, ids, results, as_json, url, fleet))


async def _list(
    capability: str | None,
    ids: bool,
    results: int,
    as_json: bool,
    url: str | None,
    fleet: str | None,
) -> None:
    from bus.client.queue import lanes, recent, waiting
    from bus.subjects import token

    if capability is not None:
        token("capability", capability)
    async with connected(url, fleet) as client:
        found = [one for one in await lanes(client.bus) if capability in (None, one.capability)]
        names = sorted([one async for one in waiting(client.bus, capability or "*")]) if ids else []
        ended = await recent(client.bus, results) if results else []
    if as_json:
        document: dict[str, Any] = {"lanes": found}
        if ids:
            document["ids"] = [
                {"capability": c, "priority": p, "task": task} for c, p, task in names
            ]
        if results:
            from fleetbus.task.show import summary

            document["results"] = [summary(one.result, at_ms=one.at_ms) for one in ended]
        console.print_document(document)
        return
    _lanes(found, client)
    if names:
        _ids(names)
    if results:
        _results(ended)


def _lanes(found: list[Any], client: "Client") -> None:
    if not any(one.waiting or one.held for one in found):
        console.hint(f"no task waits or is held in fleet {client.bus.subjects.fleet!r}")
        return
    table = console.table("capability", ">priority", ">waiting", ">held", "")
    for one in found:
        if one.waiting or one.held:
            note = "" if one.served else "no agent offers it"
            table.add_row(
                one.capability, str(one.priority), f"{one.waiting:,}", f"{one.held:,}", note
            )
    console.stdout().print(table)


def _ids(names: list[tuple[str, int, str]]) -> None:
    table = console.table("task", "capability", ">priority")
    for capability, priority, task_id in names[:LIMIT]:
        table.add_row(task_id, capability, str(priority))
    out = console.stdout()
    out.print()
    out.print(table)
    if len(names) > LIMIT:
        console.hint(f"and {len(names) - LIMIT:,} more; --json has them all")


def _results(ended: list[Any]) -> None:
    table = console.table("task", "state", "agent", ">attempt", ">queued", ">ran", ">age", "error")
    for at_ms, result in ended:
        table.add_row(
            result.task,
            result.state,
            console.clean(result.agent) or "-",
            str(result.attempt),
            console.duration(result.queued_ms / 1000),
            console.duration(result.run_ms / 1000),
            console.age(at_ms),
            console.clean(result.error.message) if result.error else "",
        )
    out = console.stdout()
    out.print()
    out.print(table)
