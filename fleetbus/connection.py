"""Options that all commands share, and the connection that they lead to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fleetbus.running import run

if TYPE_CHECKING:
    from bus import Client

__all__ = ["PANEL", "Fleet", "Json", "LogLevel", "Select", "Url", "connected", "run"]

PANEL = "Connection"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        "-u",
        metavar="URL",
        rich_help_panel=PANEL,
        show_default=False,
        help="NATS server, or several with commas between. Else FLEETBUS_URL, "
        "the settings file, nats://127.0.0.1:4222.",
    ),
]
Fleet = Annotated[
    str | None,
    typer.Option(
        "--fleet",
        "-f",
        metavar="NAME",
        rich_help_panel=PANEL,
        show_default=False,
        help="Which fleet on that server. Else FLEETBUS_FLEET, the settings file, dev.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of text for people.")]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    typer.Option("--log-level", "-l", help="The least that is worth a line on stderr."),
]
Select = Annotated[
    str,
    typer.Option(
        "--select",
        "-s",
        metavar="SELECTOR",
        show_default=False,
        help="Only agents that match, for example 'site=berlin,gpu,env in (prod,test)'.",
    ),
]


@asynccontextmanager
async def connected(
    url: str | None, fleet: str | None, name: str = "cli", **settings: Any
) -> AsyncIterator["Client"]:
    """A ``bus.Client`` of a fleet that is known to exist.

    Raises:
        SettingsError, InvalidName: an option or another setting is unusable.
        ConnectError: there is no server.
        TopologyMissing: it has no such fleet.
    """
    from bus import Client, topology

    async with Client.connect(url, fleet, name=name, **settings) as client:
        await topology.check(client.bus)
        yield client
