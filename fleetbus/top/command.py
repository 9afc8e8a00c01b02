"""``fleetbus top``: draws frames until q or Ctrl-C."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Select, Url, connected, run

if TYPE_CHECKING:
    from fleetbus.top.model import Model

HELP = """Show the whole fleet on one screen: agents, load, rates, queues, coordinators, events.

Agents are sorted by load. Rates come from heartbeats. Latency is that of a sample of the latest
results: 'queued' is from stored to started, 'ran' from started to done. q or Ctrl-C ends it.

Examples:

  fleetbus top

  fleetbus top --select site=berlin --every 0.5

  fleetbus top --once > state.txt

  fleetbus top --json | jq .dead
"""


def register(app: typer.Typer) -> None:
    """Add ``top`` to the command line."""
    app.command("top", help=HELP)(top)


def top(
    once: Annotated[
        bool, typer.Option("--once", help="Print one frame after listening for a moment, and end.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, help="Between two frames.")
    ] = 1.0,
    select: Select = "",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    run(_top(once, every, select, as_json, url, fleet))


async def _top(
    once: bool, every: float, select: str, as_json: bool, url: str | None, fleet: str | None
) -> None:
    from fleetbus.top.frame import frame
    from fleetbus.top.model import Model

    out = console.stdout()
    async with connected(url, fleet) as client, Model(client.bus, select) as model:
        await model.heard()
        if out.is_terminal and not once and not as_json:
            await _live(model, every)
            return
        while True:
            await model.look()
            # Long enough for a rate, and for a sample of results.
            await asyncio.sleep(every)
            await model.look()
            if as_json:
                console.print_document(model.snapshot().summary())
            else:
                out.print(frame(model.snapshot()))
            if once or as_json:
                return


async def _live(model: "Model", every: float) -> None:
    from rich.live import Live

    from fleetbus.top.frame import frame
    from fleetbus.top.keys import pressed

    out = console.stdout()
    with pressed("q") as leave, Live(console=out, screen=True, auto_refresh=False) as live:
        while not leave.is_set():
            await model.look()
            live.update(frame(model.snapshot(), out.size.height), refresh=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await leave.wait()
