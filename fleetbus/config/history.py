"""``fleetbus config history``: what was written to the bus, when and by whom."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run

if TYPE_CHECKING:
    from bus.config.changes import Change

HELP = """Show the writes that the bus remembers, the newest first: 64 of each layer.

Without --layer: the syncs from Git, and what was set without it. With --layer: each write of
that layer.

Examples:

  fleetbus config history

  fleetbus config history --layer group.10-gpu --json | jq '.[].value.values'
"""


def history(
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="Only this layer, each write."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="Not more than so many.")
    ] = 20,
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    run(_history(layer, limit, as_json, url, fleet))


async def _history(
    layer: str | None, limit: int, as_json: bool, url: str | None, fleet: str | None
) -> None:
    from bus.client import config
    from bus.config import layers

    if layer is not None:
        layers.check(layer)
    async with connected(url, fleet) as client:
        changes = [one async for one in config.history(client.bus)]
    if layer is not None:
        chosen = [one for one in changes if one.layer == layer]
    else:
        # What a sync wrote is told by its head.
        chosen = [one for one in changes if not one.layer or not one.batched]
    chosen = chosen[::-1][:limit]
    if as_json:
        console.print_document([_record(one) for one in chosen])
    elif chosen:
        _show(chosen)
    else:
        console.hint("nothing was ever written" + (f" to layer {layer}" if layer else ""))


def _record(change: "Change") -> dict[str, Any]:
    return {
        "revision": change.revision,
        "at": change.at,
        "key": change.key,
        "deleted": change.value is None and not change.problem,
        "problem": change.problem,
        "value": change.value,
    }


def _show(changes: "list[Change]") -> None:
    table = console.table(">revision", ">age", "what", "commit", "by", "about")
    for one in changes:
        what, commit, by, about = _columns(one)
        table.add_row(
            str(one.revision),
            console.age(int(one.at_s * 1000)),
            *(console.clean(text) for text in (what, commit or "-", by or "-", about)),
        )
    console.stdout().print(table)


def _columns(change: "Change") -> tuple[str, str, str, str]:
    from bus.wire.config import ConfigHead

    value = change.value
    if change.problem:
        return f"{change.key}: unreadable", "", "", change.problem
    if value is None:
        return f"{change.key} deleted", "", "", ""
    if not isinstance(value, ConfigHead):
        keys = ", ".join(list(value.values)[:5])
        return change.layer, value.commit[:12], value.by, f"{len(value.values)} keys: {keys}"
    what = f"rollback from {value.rolled_back_from[:12]}" if value.rolled_back_from else "sync"
    about = f"{value.summary} ({', '.join(value.changed[:5]) or 'no layer changed'}"
    about += f", and {len(value.changed) - 5} more)" if len(value.changed) > 5 else ")"
    if value.reverted:
        about += f", reverted edits of {', '.join(value.reverted[:5])}"
    return what, value.commit[:12], value.by, about
