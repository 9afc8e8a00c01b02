"""Composes the ``config`` group."""

import typer

from fleetbus.config import diff, drift, explain, history, override, rollback, sync, values

HELP = """See, change and check the agents' configuration.

It is made of layers; the later ones win: global, fleet, group.<nn>-<name> for the agents that
match its selector, instance.<agent>, and overrides that an operator sets on a running agent for
a time. Mappings are merged, everything else is replaced, null removes.

With Git: keep the layers in a repository and have 'sync' bring them to the bus.
Without: 'set' and 'get'.

Examples:

  fleetbus config sync --repo . --ref main --watch

  fleetbus config explain summarizer-1 llm.model

  fleetbus config drift
"""


def register(app: typer.Typer) -> None:
    """Add ``config`` to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True)
    group.command("sync", help=sync.HELP)(sync.sync)
    group.command("check", help=sync.CHECK)(sync.check)
    group.command("drift", help=drift.HELP)(drift.drift)
    group.command("explain", help=explain.HELP)(explain.explain)
    group.command("diff", help=diff.HELP)(diff.diff)
    group.command("history", help=history.HELP)(history.history)
    group.command("rollback", help=rollback.HELP)(rollback.rollback)
    group.command("override", help=override.OVERRIDE)(override.override)
    group.command("clear", help=override.CLEAR)(override.clear)
    group.command("get", help=values.GET)(values.get)
    group.command("set", help=values.SET)(values.set_values)
    app.add_typer(group, name="config")
