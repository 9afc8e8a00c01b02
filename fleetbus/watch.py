"""``fleetbus watch``: what happens on the bus, decoded, as it happens."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bus.client.watch import TOPICS
from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run
from fleetbus.exits import Exit
from fleetbus.task.inputs import span

if TYPE_CHECKING:
    from rich.text import Text

    from bus.client import Seen

_LIST = "\n\n".join(f"  {name}: {what}" for name, what in TOPICS.items())

HELP = f"""Show what happens on the bus, decoded, as it happens.

A topic is a subject without 'fleet.<fleet>.'; * stands for one part of it and a final > for
all that follow. Without topics you see all but dispatch and call: who watches these keeps the
server from noticing that an agent or a coordinator is gone. Topics:

{_LIST}

Examples:

  fleetbus watch event done

  fleetbus watch 'task.summarize.>' --json | jq .value

  fleetbus watch 'hb.berlin.*' --count 10 --timeout 30s
"""

COLOURS = {
    "hb": "bright_black",
    "coordinator": "bright_black",
    "attempt": "bright_black",
    "advert": "blue",
    "task": "cyan",
    "schedule": "cyan",
    "call": "cyan",
    "dispatch": "magenta",
    "progress": "yellow",
    "cancel": "yellow",
    "done": "green",
    "result": "green",
    "cmd": "bright_magenta",
    "config": "bright_blue",
    "event": "bright_green",
    "audit": "bright_blue",
    "telemetry": "bright_cyan",
    "dead": "red",
}

SHOWN = 2000
"""Characters of a value on one line for people; --json has all of it."""


def register(app: typer.Typer) -> None:
    """Add ``watch`` to the command line."""
    app.command("watch", help=HELP)(watch)


def watch(
    topics: Annotated[
        list[str] | None,
        typer.Argument(metavar="TOPIC", show_default=False, help="What to watch; all."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", "-n", metavar="N", min=1, show_default=False, help="End after so many."
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            "-t",
            metavar="DURATION",
            show_default=False,
            help="End after so long; with --count, exit 4 if there were fewer by then.",
        ),
    ] = None,
    headers: Annotated[
        bool, typer.Option("--headers", help="Show headers to people, too; --json has them.")
    ] = False,
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    patience = None if timeout is None else span(timeout)
    status = run(_watch(topics or [], count, patience, headers, as_json, url, fleet))
    raise typer.Exit(status)


async def _watch(
    topics: list[str],
    count: int | None,
    timeout: float | None,
    headers: bool,
    as_json: bool,
    url: str | None,
    fleet: str | None,
) -> Exit:
    from bus.client.watch import HARMLESS, Watch

    for topic in topics:
        first = topic.partition(".")[0]
        if first not in TOPICS and first not in ("*", ">"):
            console.hint(f"there is no topic {first!r}: see 'fleetbus watch --help'")
    left = count
    async with connected(url, fleet) as client, Watch(client.bus, *topics) as watched:
        shown = ", ".join(topics or HARMLESS)
        console.hint(f"watching {shown} in fleet {client.bus.subjects.fleet!r}")
        try:
            async with asyncio.timeout(timeout):
                async for seen in watched:
                    if as_json:
                        console.print_json(record(seen))
                    else:
                        console.stdout().print(line(seen, headers), soft_wrap=True)
                    if left is not None:
                        left -= 1
                        if not left:
                            break
        except TimeoutError:
            if left:
                console.say(f"saw {count - left if count else 0} of {count}", "error", "31")
                return Exit.TIMEOUT
        finally:
            if watched.missed:
                console.say(f"{watched.missed} messages came too fast and were not shown")
    return Exit.OK


def record(seen: "Seen") -> dict[str, Any]:
    """One message for scripts. ``value`` is base64 where it is bytes."""
    return {
        "at": seen.at,
        "topic": seen.topic,
        "value": _value(seen),
        "headers": seen.headers,
        **({"problem": seen.problem} if seen.problem else {}),
    }


def line(seen: "Seen", headers: bool = False) -> "Text":
    """One message for people."""
    from rich.text import Text

    kind = seen.topic.partition(".")[0]
    at = time.strftime("%H:%M:%S", time.localtime(seen.at)) + f"{seen.at % 1:.3f}"[1:]
    text = Text.assemble(
        (f"{at} ", "dim"), (console.clean(seen.topic), COLOURS.get(kind, "white")), " "
    )
    value = _value(seen, full=False)
    shown = f"{len(value)} bytes" if isinstance(value, bytes) else _compact(value)
    text.append(shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}… ({len(shown)} characters)")
    if headers and seen.headers:
        fields = " ".join(f"{name}={value}" for name, value in seen.headers.items())
        text.append(f"  [{console.clean(fields)}]", "dim")
    if seen.problem:
        text.append(f"  ({console.clean(seen.problem)})", "red")
    return text


def _value(seen: "Seen", full: bool = True) -> Any:
    from bus.wire.result import Result

    value = seen.value
    if isinstance(value, Result):
        from bus.errors import FleetError
        from fleetbus.task.show import summary

        try:
            return summary(value)
        except FleetError:
            return console.full(value)
    return console.full(value) if full else value


def _compact(value: Any) -> str:
    """JSON without the fields that have their defaults, which says more on one line."""
    import msgspec

    if value is None:
        return ""
    if isinstance(value, str):
        return console.clean(value)
    return console.clean(msgspec.json.encode(value).decode())
