"""Composes the ``task`` group."""

import typer

from fleetbus.task import dead, queue, schedules, single, submit

HELP = """Submit, call, look at, cancel and repeat tasks.

'submit' stores a task before it returns: it is done even if agents, coordinators or this
terminal die. 'call' has it done now and stores nothing.
"""


def register(app: typer.Typer) -> None:
    """Add ``task`` to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True)
    group.command("submit", help=submit.SUBMIT)(submit.submit)
    group.command("call", help=submit.CALL)(submit.call)
    group.command("get", help=single.GET)(single.get)
    group.command("cancel", help=single.CANCEL)(single.cancel)
    group.command("list", help=queue.HELP)(queue.list_tasks)
    group.add_typer(dead.group(), name="dead")
    group.add_typer(schedules.group(), name="schedules")
    app.add_typer(group, name="task")
