"""``fleetbus doctor``: is everything as it must be, and what to do where it is not."""

import logging
from typing import TYPE_CHECKING

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, run
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from fleetbus.diagnosis.finding import Finding

HELP = """Check a server and a fleet on it, and say how to mend what is wrong.

Looks at the server's version and API level, JetStream, the fleet's streams and consumers,
coordinators, agents and their configuration, disconnect events, permissions, clocks, payload
size and durability. It changes nothing. Takes about three seconds. Exit status 1 if anything
failed; warnings alone give 0.

Examples:

  fleetbus doctor

  fleetbus doctor --url nats://prod:4222 --fleet prod --json
"""


def register(app: typer.Typer) -> None:
    """Add ``doctor`` to the command line."""
    app.command("doctor", help=HELP)(doctor)


def doctor(as_json: Json = False, url: Url = None, fleet: Fleet = None) -> None:
    # What the connection would log is what the findings say.
    logging.getLogger("fleetbus").setLevel(logging.CRITICAL)
    findings = run(_doctor(url, fleet))
    if as_json:
        console.print_document(findings)
    else:
        _show(findings)
    if any(one.level == "fail" for one in findings):
        raise typer.Exit(Exit.FAILED)


async def _doctor(url: str | None, fleet: str | None) -> "list[Finding]":
    from bus import connect
    from bus.errors import ConnectError
    from bus.settings import read
    from bus.topology import TopologySettings
    from fleetbus.diagnosis.examine import examine
    from fleetbus.diagnosis.finding import Finding

    settings, _ = read(TopologySettings, "topology")
    bus = connect(url, fleet, name="client:doctor")
    try:
        async with bus:
            return await examine(bus, settings)
    except ConnectError as problem:
        fix = "check the address and the credentials, or start one with 'fleetbus up'"
        return [Finding("server", "fail", str(problem), fix)]


STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def _show(findings: "list[Finding]") -> None:
    from rich.text import Text

    out = console.stdout()
    width = max(len(one.check) for one in findings)
    for one in findings:
        line = Text.assemble(
            (f"{one.level:5}", STYLES[one.level]),
            f"{one.check:{width}}  {console.clean(one.message)}",
        )
        out.print(line, soft_wrap=True)
        if one.fix and one.level != "ok":
            out.print(
                Text(f"{'':5}{'':{width}}  fix: {console.clean(one.fix)}", "dim"), soft_wrap=True
            )
