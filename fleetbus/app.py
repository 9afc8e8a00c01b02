"""Composes the command line. A command's module is imported when the command is used.

An idle agent is a process of ``fleetbus agent run``: it must not pay for what ``fleetbus top``
needs.
"""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from fleetbus.exits import HELP

COMMANDS: Final = {
    "up": "fleetbus.up",
    "demo": "fleetbus.demo.command",
    "agent": "fleetbus.agent",
    "coordinator": "fleetbus.coordinator",
    "agents": "fleetbus.agents",
    "site": "fleetbus.site",
    "thing": "fleetbus.thing",
    "task": "fleetbus.task",
    "broadcast": "fleetbus.broadcast",
    "config": "fleetbus.config",
    "watch": "fleetbus.watch",
    "top": "fleetbus.top",
    "doctor": "fleetbus.doctor",
    "golden": "fleetbus.golden.command",
    "edge": "fleetbus.edge.command",
    "conformance": "fleetbus.conformance.command",
    "bench": "fleetbus.benchmark.command",
}
"""Each command, and the module whose ``register(app)`` adds it."""


class Commands(TyperGroup):
    """The root group: knows all names, loads a command when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order in which help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name; None if there is none."""
        # A name that nobody has: typer suggests from the commands that are loaded.
        wanted = [cmd_name] if cmd_name in COMMANDS else list(COMMANDS)
        for name in wanted:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return self.commands.get(cmd_name)


def _load(name: str) -> Any:
    part = typer.Typer(add_completion=False)
    # With a callback typer makes a group even of a single command.
    part.callback()(_nothing)
    import_module(COMMANDS[name]).register(part)
    group: Any = typer.main.get_command(part)
    return group.commands[name]


def _nothing() -> None:
    """Stands in for a callback."""


def _version(wanted: bool) -> None:
    if wanted:
        from bus.version import VERSION

        print(f"fleetbus {VERSION}")
        raise typer.Exit


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, epilog=HELP)


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Show the version."),
    ] = False,
) -> None:
    """A fleet of agents on NATS JetStream: they join, tasks are routed by load, none is lost.

    Start with 'fleetbus up' (a server, a coordinator and sample agents), then in another
    terminal 'fleetbus agents' and 'fleetbus task submit'.
    """
