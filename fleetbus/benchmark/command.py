"""Composes the ``bench`` group, whose first word may be left out: ``bench dispatch`` runs it."""

from typing import Any

import typer
from typer.core import TyperGroup

from fleetbus.benchmark import compare, measure, report

HELP = """Measure throughput, latency, scale and failover on this machine.

Each figure stands beside a yardstick of the same run: the same work on bare nats-py, or on the
system that one would use otherwise. Servers are embedded and ports are free ones; nothing has
to be started before, and nothing stays.

Without a subcommand it measures: 'fleetbus bench dispatch' is 'fleetbus bench run dispatch'.
"""


class DefaultRun(TyperGroup):
    """Takes what is no subcommand for the arguments of ``run``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the library does, after ``run`` was put in where it was left out."""
        if not args or (args[0] not in self.commands and args[0] not in self._helps(ctx)):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def _helps(self, ctx: Any) -> list[str]:
        return self.get_help_option_names(ctx)


def register(app: typer.Typer) -> None:
    """Add ``bench`` to the command line."""
    group = typer.Typer(help=HELP, cls=DefaultRun)
    group.command("run", help=measure.HELP)(measure.measure)
    group.command("report", help=report.HELP)(report.report)
    group.command("compare", help=compare.HELP)(compare.compare)
    app.add_typer(group, name="bench")
