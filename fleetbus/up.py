"""``fleetbus up``: a server, coordinators and agents, with one command."""

from pathlib import Path
from typing import Annotated

import typer

from fleetbus.connection import run
from fleetbus.logs import configure

HELP = """Start a whole fleet here: a NATS server, a coordinator, and agents.

Without a TARGET the agents are the bundled samples; with targets, as 'fleetbus agent run' takes
them, each target is a process. Only this machine can reach the server. Ctrl-C drains the
agents, then stops the coordinators and the server; a second one ends everything at once.
Nothing stays behind except what --store keeps.

Examples:

  fleetbus up

  fleetbus up summarizer.py:agent indexer.py:agent --store ./data --coordinators 2

  fleetbus up --mqtt 1883

Then, in another terminal:

  fleetbus agents

  fleetbus watch event
"""

TargetsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="TARGET", help="module:name or path.py:name", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add ``up`` to the command line."""
    app.command("up", help=HELP)(up)


def up(
    targets: TargetsArgument = None,
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="0 for any that is free.")
    ] = 4222,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="DIR",
            file_okay=False,
            show_default=False,
            help="Keep streams there for the next time. Else they go with the server.",
        ),
    ] = None,
    coordinators: Annotated[
        int, typer.Option("--coordinators", "-c", min=1, max=64, help="How many.")
    ] = 1,
    fleet: Annotated[
        str, typer.Option("--fleet", "-f", metavar="NAME", help="The fleet's name.")
    ] = "dev",
    mqtt: Annotated[
        int | None,
        typer.Option(
            "--mqtt",
            metavar="PORT",
            min=1,
            max=65535,
            show_default=False,
            help="Let devices that speak only MQTT connect there, without a password.",
        ),
    ] = None,
) -> None:
    configure("warning")
    run(_up(targets or [], port, store, coordinators, fleet, mqtt))


async def _up(
    targets: list[str],
    port: int,
    store: Path | None,
    coordinators: int,
    fleet: str,
    mqtt: int | None,
) -> None:
    # In here, so that what goes wrong is shown as any command's errors are.
    from fleetbus.local import LocalFleet

    await LocalFleet(targets, port, store, coordinators, fleet, mqtt).serve()
