"""``fleetbus agent``: its options and its help. ``fleetbus.agent_process`` does the work."""

from typing import Annotated

import typer

from fleetbus.agent_process import AgentRun, start
from fleetbus.connection import Fleet, LogLevel, Url

RUN_HELP = """Run agents until Ctrl-C, SIGTERM or a 'stop' command.

A TARGET names an Agent, a list of Agents, or a function without arguments that returns one of
these; without ':name' it is ':agent'. All run in this process, each with a connection of its
own. They wait for a server and a fleet that are not there yet.

The first Ctrl-C or SIGTERM drains: running tasks get the agent's grace time to end, the rest
go to other agents. The second ends the process at once; nothing is lost then either.

Examples:

  fleetbus agent run summarizer.py:agent

  fleetbus agent run mypackage.agents:agents other.py --fleet prod

  fleetbus agent run summarizer.py --reload --log-level debug
"""


def register(app: typer.Typer) -> None:
    """Add ``agent`` to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Run agents of your own.")
    # A callback makes it a group although it has one command only.
    group.callback()(lambda: None)
    group.command("run", no_args_is_help=True, help=RUN_HELP)(agent_run)
    app.add_typer(group, name="agent")


def agent_run(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET", help="module:name or path.py:name", show_default=False),
    ],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ID", help="Of several agents run this one. Repeatable."),
    ] = None,
    reload: Annotated[
        bool,
        typer.Option("--reload", help="Start again when a source file changes. For development."),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help="Wait for a server and a fleet that are not there yet."
        ),
    ] = True,
    log_level: LogLevel = "info",
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    """What ``fleetbus agent run`` does when its arguments were not plain."""
    start(AgentRun(tuple(targets), tuple(only or ()), reload, wait, log_level, url, fleet))
