"""``fleetbus golden``: its options and its help. ``fleetbus.golden.rounds`` does the work."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Select, Url, connected, run
from fleetbus.exits import Exit
from fleetbus.task.inputs import span

if TYPE_CHECKING:
    from fleetbus.golden.report import Report

GROUP = """Ask every instance the same questions, and see which one has drifted.

'run' asks and judges, 'report' shows the last report of the fleet, which is kept on the bus.
"""

RUN = """Ask every instance of a capability its golden cases, and judge the answers.

A case file, golden/NAME.yaml in the configuration repository, is a mapping:

    short-text:                    # the case's name
      capability: summarize
      input: {text: Fleets drift.}
      select: site=berlin          # only these instances
      timeout: 20                  # seconds; 30
      ignore:                      # paths not compared
        - items.*.id               # * is any name or index
      peers: true                  # compare the instances; true
      subset: {language: en}       # what is expected

Expected is at most one of

  equals: JSON

  subset: JSON (further keys do not matter; lists are as long)

  regex: TEXT (found anywhere in a text, or in the JSON of anything else)

  approx: {value: JSON, abs: N, rel: N} (numbers may differ so much)

Whatever is expected, the instances are compared with each other. One that is
unlike the answer of more than half of three or more is 'divergent'. Without a
majority they are 'split'. One that disagrees with itself over --repeat is
'unstable'. For a case whose answers are never the same, set 'peers: false'.

Questions are tasks of priority 2, one at a time for each instance, with the
case's timeout as their deadline. Exits with 0 if all passed and nobody
diverges, else with 1; with 2 if case files cannot be used.

Examples:

  fleetbus golden run

  fleetbus golden run --repo https://git.example/config --repeat 3

  fleetbus golden run short-text --select site=berlin --json

  fleetbus golden run --repo . --every 10m --min-pass 95%
"""

REPORT = """Show the fleet's last report on golden cases, and how old it is.

Exits as the run did: 0 if all passed and nobody diverged, else 1. A big report is kept without
some of its details; its counts are complete.

Examples:

  fleetbus golden report

  fleetbus golden report --json | jq -r '.agents[] | select(.divergent > 0) | .agent'
"""


def register(app: typer.Typer) -> None:
    """Add ``golden`` to the command line."""
    group = typer.Typer(help=GROUP, no_args_is_help=True)
    group.command("run", help=RUN)(golden_run)
    group.command("report", help=REPORT)(golden_report)
    app.add_typer(group, name="golden")


def golden_run(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="CASE", show_default=False, help="Only these cases."),
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo",
            metavar="PATH|URL",
            show_default=False,
            help="Git repository that has golden/*.yaml.",
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="PATH",
            show_default=False,
            help="Folder of case files, read as they are now. Without --repo, golden.",
        ),
    ] = None,
    ref: Annotated[
        str, typer.Option(metavar="REF", help="Branch, tag or commit of --repo.")
    ] = "main",
    select: Select = "",
    capability: Annotated[
        str | None,
        typer.Option("--capability", "-c", metavar="NAME", show_default=False, help="Only this."),
    ] = None,
    repeat: Annotated[
        int, typer.Option(metavar="N", min=1, max=100, help="Ask each case so often.")
    ] = 1,
    outstanding: Annotated[
        int, typer.Option(metavar="N", min=1, max=512, help="Questions on their way at a time.")
    ] = 16,
    every: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            show_default=False,
            help="Run again so often until Ctrl-C, reading cases and registry anew.",
        ),
    ] = None,
    min_pass: Annotated[
        str, typer.Option(metavar="N%", help="Share of its answers that each instance must pass.")
    ] = "100%",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    from fleetbus.golden.load import Origin
    from fleetbus.golden.rounds import Rounds, Wanted

    if repo is not None and directory is not None:
        raise typer.BadParameter("give --repo or --dir, not both")
    wanted = Wanted(
        Origin(repo, ref, directory),
        tuple(names or ()),
        capability,
        select,
        repeat,
        outstanding,
        None if every is None else span(every),
        percent("--min-pass", min_pass),
        as_json,
    )
    raise typer.Exit(run(Rounds(wanted).run(url, fleet)))


def golden_report(as_json: Json = False, url: Url = None, fleet: Fleet = None) -> None:
    raise typer.Exit(run(_report(as_json, url, fleet)))


def percent(option: str, text: str) -> float:
    """``95%`` as 0.95.

    Raises:
        typer.BadParameter: it is not 0% to 100%.
    """
    try:
        value = float(text.removesuffix("%")) / 100
    except ValueError:
        value = -1.0
    if not text.endswith("%") or not 0 <= value <= 1:
        raise typer.BadParameter(f"{option} {text!r} is not such as 95%, from 0% to 100%")
    return value


async def _report(as_json: bool, url: str | None, fleet: str | None) -> Exit:
    from fleetbus.golden import kept, show

    async with connected(url, fleet) as client:
        report = await kept.newest(client.bus)
    if as_json:
        console.print_document(report)
    else:
        console.hint(_heading(report))
        show.show(report)
    return Exit.OK if report.ok else Exit.FAILED


def _heading(report: "Report") -> str:
    commit = f" at {report.commit[:12]}" if report.commit else ""
    asked = f", asked of {report.select}" if report.select else ""
    return f"{console.age(report.at_ms)} ago, cases from {report.source}{commit}{asked}"
