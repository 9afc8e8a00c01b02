"""``fleetbus coordinator``: run a coordinator as a process."""

from typing import Annotated, Any

import typer

from fleetbus.connection import Fleet, LogLevel, Url, run
from fleetbus.logs import configure

HELP = """Run a coordinator until Ctrl-C or SIGTERM.

Coordinators route tasks and calls to agents. Run one or as many as you like: they share the
work, keep nothing, and any of them may die at any time. The first one to meet a server sets up
the fleet's streams there.

With --http it serves /healthz (alive), /readyz (503 while it routes nothing) and /metrics
(Prometheus).

Examples:

  fleetbus coordinator

  fleetbus coordinator --fleet prod --http 127.0.0.1:9464

  FLEETBUS_COORDINATOR_PROFILE=wan fleetbus coordinator

  fleetbus coordinator --site berlin    # on the server of a site: 'fleetbus site init' makes it
"""


def register(app: typer.Typer) -> None:
    """Add ``coordinator`` to the command line."""
    app.command("coordinator", help=HELP)(coordinator)


def coordinator(
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            show_default=False,
            help="Serve health and metrics there. Else FLEETBUS_COORDINATOR_HTTP; none.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", show_default=False, help="Its id. Else a random one."
        ),
    ] = None,
    site: Annotated[
        str,
        typer.Option(
            "--site",
            metavar="SITE",
            show_default=False,
            help="The site whose own server this is, and whose link to the hub it looks after.",
        ),
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for a server that is not there yet.")
    ] = True,
    log_level: LogLevel = "info",
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    configure(log_level)
    run(_serve(http, wait=wait, name=name, site=site, url=url, fleet=fleet))


async def _serve(http: str | None, **options: Any) -> None:
    # In here, so that a bad setting is shown as any command's errors are.
    from coordinator.runner import serve
    from coordinator.settings import load

    await serve(load({"http": http}), **options)
