"""``fleetbus broadcast``: one command to all agents that match, and their answers."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Select, Url, connected, run
from fleetbus.exits import Exit
from fleetbus.task.inputs import pairs_of, span

if TYPE_CHECKING:
    from bus import Client
    from bus.client import Broadcast, Tally
    from bus.wire.command import Reply

HELP = """Send a command to all agents that match, and wait for their answers.

The registry says who is expected before anything is sent. At the end you see who answered, who
failed, who is outstanding and who was not expected, by name. Exits with 1 if fewer than
--expect answered 'ok'.

All agents know ping, status, drain, resume, stop, set-log-level and cancel; they may have
commands of their own ('fleetbus agents show ID' lists them). Arguments are NAME=VALUE as for
'fleetbus task submit'.

Examples:

  fleetbus broadcast ping

  fleetbus broadcast drain --select 'site=berlin,!gpu' --timeout 5s

  fleetbus broadcast reload-index name=main --batch 10 --batch-pause 2s --expect 95%

  fleetbus broadcast set-log-level level=debug --limit 10% --seed 7

  fleetbus broadcast status --json | jq 'select(.output.running > 0) | .agent'
"""

Display = Literal["ok", "failed", "all", "none"]
REFRESH = 0.1
"""Seconds between two looks of the bar."""


def register(app: typer.Typer) -> None:
    """Add ``broadcast`` to the command line."""
    app.command("broadcast", help=HELP)(broadcast)


def broadcast(
    verb: Annotated[str, typer.Argument(metavar="VERB", help="The command.")],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", show_default=False, help="Its arguments."),
    ] = None,
    select: Select = "",
    limit: Annotated[
        str | None,
        typer.Option(
            metavar="N|N%",
            show_default=False,
            help="Only so many of those that match, drawn at random.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Another one makes --limit draw others.")
    ] = 0,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            show_default=False,
            help="So many at a time; the next when these have answered.",
        ),
    ] = None,
    batch_pause: Annotated[
        str | None,
        typer.Option(metavar="DURATION", show_default=False, help="Pause between batches."),
    ] = None,
    timeout: Annotated[
        str,
        typer.Option("--timeout", "-t", metavar="DURATION", help="Wait so long for each batch."),
    ] = "10s",
    expect: Annotated[
        str, typer.Option(metavar="N|N%", help="Exit with 1 if fewer answer 'ok'.")
    ] = "100%",
    display: Annotated[
        Display, typer.Option("--display", "-d", help="Which answers to show.")
    ] = "all",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    try:
        args = pairs_of(pairs or [])
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None
    options = {
        "select": select,
        "limit": None if limit is None else share("--limit", limit),
        "seed": seed,
        "batch": batch,
        "batch_pause": 0.0 if batch_pause is None else span(batch_pause),
        "timeout": span(timeout),
    }
    wanted = share("--expect", expect)

    async def work() -> Exit:
        async with connected(url, fleet) as client:
            return await send(client, verb, args, options, wanted, display, as_json)

    raise typer.Exit(run(work()))


def share(option: str, text: str) -> int | float:
    """``10`` is a count, ``10%`` a share, 0.1.

    Raises:
        typer.BadParameter: it is neither, or 0, or more than 100 %.
    """
    number = text.removesuffix("%")
    try:
        value = float(number) / 100 if text.endswith("%") else int(number)
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is neither a number nor such as 10%") from None
    if not 0 < value < math.inf or (isinstance(value, float) and value > 1):
        raise typer.BadParameter(f"{option} {text!r} is not from 1, or above 0% to 100%")
    return value


def enough(tally: "Tally", wanted: int | float) -> bool:
    """True if as many answered ``ok`` as were wanted: a count, or a share of the expected."""
    if isinstance(wanted, float):
        # A hundredth of an agent is for the rounding of shares such as 0.07 * 100.
        wanted = math.ceil(len(tally.expected) * wanted - 0.01)
    return tally.succeeded >= wanted


async def send(
    client: "Client",
    verb: str,
    args: dict[str, Any],
    options: dict[str, Any],
    wanted: int | float,
    display: Display = "all",
    as_json: bool = False,
) -> Exit:
    """Send a command, show the answers as they come and who has not answered.

    Args:
        options: as for ``bus.client.Broadcast``.
        wanted: how many must answer ``ok``; see ``enough``.
    """
    sent = client.broadcast(verb, args, **options)
    await sent.freeze()
    begun = time.monotonic()
    with _bar(sent) as draw:
        async for reply in sent:
            draw()
            if reply.state != "accepted" and _shown(reply, display):
                if as_json:
                    console.print_json(reply)
                else:
                    console.stdout().print(_line(reply), soft_wrap=True)
    took = sent.tally.elapsed or time.monotonic() - begun
    good = enough(sent.tally, wanted)
    if as_json:
        console.print_json(summary(sent.tally, took, good))
    else:
        _report(sent.tally, took, good)
    return Exit.OK if good else Exit.FAILED


def summary(tally: "Tally", took: float, good: bool) -> dict[str, Any]:
    """The last line for scripts; it alone has the key ``finished``."""
    return {
        "finished": good,
        "expected": len(tally.expected),
        "answered": tally.answered,
        "ok": tally.succeeded,
        "failed": tally.failed,
        "outstanding": tally.outstanding,
        "unexpected": sorted(tally.unexpected),
        "elapsed": round(took, 4),
    }


def _shown(reply: "Reply", display: Display) -> bool:
    match display:
        case "all":
            return True
        case "none":
            return False
        case "ok":
            return reply.state == "ok"
        case _:
            return reply.state != "ok"


def _line(reply: "Reply") -> Any:
    from rich.text import Text

    good = reply.state == "ok"
    text = Text.assemble(
        (console.clean(reply.agent), "bold"), " ", (reply.state, "green" if good else "red")
    )
    if reply.error:
        text.append(f" {console.clean(reply.error)}")
    if reply.output is not None:
        text.append(f" {console.clean(console.to_json(reply.output))}")
    if reply.elapsed_ms:
        text.append(f" ({console.duration(reply.elapsed_ms / 1000)})", "dim")
    return text


def _report(tally: "Tally", took: float, good: bool) -> None:
    from rich.text import Text

    err = console.stderr()
    for name, agents in (
        ("failed", tally.failed),
        ("outstanding", tally.outstanding),
        ("unexpected", sorted(tally.unexpected)),
    ):
        if agents:
            names = console.clean(", ".join(agents))
            style = "yellow" if name == "unexpected" else "red"
            err.print(Text.assemble((f"{name} {len(agents)}: ", style), names), soft_wrap=True)
    count = f"{tally.answered} / {len(tally.expected)}"
    text = f"finished {count} in {console.duration(took)}"
    err.print(Text(text, "green" if good else "red"), soft_wrap=True)


@contextmanager
def _bar(sent: "Broadcast") -> Iterator[Callable[[], None]]:
    """A bar ``n / m`` on a terminal: red until all have answered."""
    out = console.stdout()
    # Answers go above the bar only if both are drawn by one console.
    where = out if out.is_terminal else console.stderr()
    if not where.is_terminal:
        yield lambda: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    total = len(sent.tally.expected)
    columns = (
        TextColumn("{task.completed:.0f} / {task.total:.0f}"),
        BarColumn(complete_style="red", finished_style="green"),
        TimeElapsedColumn(),
    )
    drawn = 0.0
    with Progress(*columns, console=where, transient=True) as progress:
        task = progress.add_task("", total=total)

        def draw() -> None:
            nonlocal drawn
            now = time.monotonic()
            if now - drawn >= REFRESH:
                drawn = now
                progress.update(task, completed=sent.tally.answered)

        yield draw
