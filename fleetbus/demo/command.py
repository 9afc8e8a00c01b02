"""``fleetbus demo``: a fleet works through real text while one of its agents is killed."""

from pathlib import Path
from typing import Annotated

import typer

from fleetbus.connection import Json
from fleetbus.demo.work import USUAL
from fleetbus.exits import Exit
from fleetbus.running import run

HELP = """Watch a fleet work through real text while an agent is killed; nothing is lost.

Starts a server, two coordinators and four agents, each a process of its own, in a temporary
directory: two fast agents, a slow one, and one that gets SIGKILL half-way. Needs no server and
no fleet, and leaves nothing behind. The status is 1 if a task was lost or failed.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", help=HELP)(demo)


def demo(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            "-d",
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            readable=True,
            show_default=False,
            help="Text to work on. Else the text and source files that ship with Python and "
            "with this project.",
        ),
    ] = None,
    tasks: Annotated[
        int | None,
        typer.Option(
            "--tasks",
            "-n",
            min=1,
            max=100_000,
            metavar="N",
            show_default=False,
            help="How many tasks; the files are gone over again if need be. "
            f"Else all that can be asked of each file, at most {USUAL}.",
        ),
    ] = None,
    outstanding: Annotated[
        int, typer.Option("--outstanding", min=1, max=10_000, help="Tasks under way at a time.")
    ] = 128,
    json: Json = False,
) -> None:
    """Parse, perform, print."""
    from fleetbus.console import hint, print_document, stdout
    from fleetbus.demo.display import display
    from fleetbus.demo.report import show
    from fleetbus.demo.stage import perform

    report = run(perform(directory, tasks, outstanding, display(quiet=json)))
    if report is None:
        hint("interrupted; everything that was started has ended")
        raise typer.Exit(Exit.INTERRUPTED)
    if json:
        print_document(report)
    else:
        show(report, stdout())
    if not report.ok:
        raise typer.Exit(Exit.FAILED)
