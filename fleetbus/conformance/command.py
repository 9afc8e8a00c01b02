"""``fleetbus conformance``: its options and its help."""

import shlex
import shutil
import time
from typing import TYPE_CHECKING, Annotated

import typer

from fleetbus import console
from fleetbus.connection import Json, run
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from fleetbus.conformance.check import Check
    from fleetbus.conformance.outcome import Outcome, Report

HELP = """Prove that an agent, in whatever language, behaves as docs/subjects.md says.

Starts a server of its own, and the agent command several times, each in a fresh fleet in which
nobody else is. The suite plays coordinator, client and operator, and judges by what it sees on
the bus. The agent finds FLEETBUS_URL, FLEETBUS_FLEET, FLEETBUS_AGENT (the id that it must use)
and FLEETBUS_SITE in its environment; docs/conformance.md tells what it must offer.

Exit status 0: all required checks passed; 1: some failed; 2: the agent did not start,
or offers nothing of what docs/conformance.md asks for.

Examples:

  fleetbus conformance --agent-command "python my_agent.py"

  fleetbus conformance --agent-command "./my-agent" -k "dispatch ack.second" --verbose

  fleetbus conformance --list
"""


def register(app: typer.Typer) -> None:
    """Add ``conformance`` to the command line."""
    app.command("conformance", help=HELP)(conformance)


def conformance(
    agent_command: Annotated[
        str,
        typer.Option(
            "--agent-command",
            metavar="COMMAND",
            show_default=False,
            help="What starts the agent; no shell reads it.",
        ),
    ] = "",
    only: Annotated[
        str,
        typer.Option(
            "-k",
            metavar="TEXT",
            show_default=False,
            help="Only checks whose id has one of these words in it.",
        ),
    ] = "",
    show_list: Annotated[bool, typer.Option("--list", help="Show the checks, run none.")] = False,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.5, max=300, help="In which what the agent owes must come."
        ),
    ] = 5.0,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            "-u",
            metavar="URL",
            show_default=False,
            help="A NATS server with JetStream to use, without TLS. Else one is started.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what the agent prints, on stderr.")
    ] = False,
    as_json: Json = False,
) -> None:
    from fleetbus.conformance.catalogue import chosen
    from fleetbus.conformance.check import NotStarted, Unfit
    from fleetbus.conformance.report import show_list as show

    checks = chosen(only)
    if not checks:
        raise typer.BadParameter(f"no check has {only!r} in its id: see --list", param_hint="-k")
    if show_list:
        if as_json:
            names = ("id", "level", "rule", "see")
            rows = [{name: getattr(one, name) for name in names} for one in checks]
            console.print_document(rows)
        else:
            show(checks)
        return
    command = _command(agent_command)
    try:
        report = run(_conformance(command, checks, timeout, url, verbose, as_json))
    except (NotStarted, Unfit) as problem:
        console.say(str(problem), "error", "31")
        raise typer.Exit(Exit.USAGE) from None
    raise typer.Exit(Exit.OK if report.ok else Exit.FAILED)


def _command(text: str) -> list[str]:
    """The words of the agent command, the first as a path.

    Raises:
        typer.BadParameter: there is no such program.
    """
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise typer.BadParameter(f"{text!r}: {problem}", param_hint="--agent-command") from None
    if not words:
        raise typer.BadParameter("what starts the agent?", param_hint="--agent-command")
    path = shutil.which(words[0])
    if path is None:
        raise typer.BadParameter(f"there is no program {words[0]!r}", param_hint="--agent-command")
    return [path, *words[1:]]


async def _conformance(
    command: list[str],
    checks: "list[Check]",
    timeout: float,
    url: str | None,
    verbose: bool,
    as_json: bool,
) -> "Report":
    from contextlib import AsyncExitStack

    from bus.server import NatsServer
    from bus.server_config import ServerConfig
    from fleetbus.conformance.outcome import summed
    from fleetbus.conformance.report import show_outcome, show_summary
    from fleetbus.conformance.runner import Runner
    from fleetbus.logs import configure

    # The suite's own log would say again what the checks say.
    configure("error")

    def tell(one: "Outcome") -> None:
        if not as_json:
            show_outcome(one)

    def on_line(scene: str, line: str) -> None:
        console.say(line, scene, "2")

    begun = time.monotonic()
    async with AsyncExitStack() as stack:
        if url is None:
            # So that what is too big for a message is not too big for a small device.
            config = ServerConfig(max_payload=256 * 1024)
            server = await stack.enter_async_context(NatsServer(config=config))
            url = server.url
        runner = Runner(url, command, timeout, tell, on_line if verbose else None)
        outcomes = await runner.run(checks)
    report = summed(outcomes, time.monotonic() - begun)
    if as_json:
        console.print_document(report)
    else:
        show_summary(report)
    return report
