"""``fleetbus task submit`` and ``fleetbus task call``."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Select, Url, connected, run
from fleetbus.task import show
from fleetbus.task.inputs import moment, span, value_of

if TYPE_CHECKING:
    from bus import TaskHandle
    from bus.client import TaskOptions

SUBMIT = """Submit a task, wait for its result and print it.

The broker stores the task before anything else happens, so it is done even if whoever is busy
with it dies. Ctrl-C and --timeout end the waiting, not the task.

A value is JSON if it can be read as such, else text. name:=JSON insists on JSON, name=@FILE is
a file's text, name:=@FILE a file's JSON.

With - instead of pairs, each line of standard input is the JSON input of a task of its own.
Results are printed one a line, in the order in which they come.

Examples:

  fleetbus task submit summarize text=@report.txt max_words=50

  fleetbus task submit greet name=Ada --no-wait

  jq -c '.[]' docs.json | fleetbus task submit summarize - --json > results.jsonl

  fleetbus task submit backup --at +10m --key backup-1

  fleetbus task submit backup --every 6h --max-attempts 5
"""

CALL = """Have a capability run now and print its output.

Faster than submit, because nothing is stored; so nothing is tried again either, and if the
agent dies there is no result.

Examples:

  fleetbus task call greet name=Ada

  fleetbus task call resize --bytes photo.jpg --select gpu > small.jpg
"""

Capability = Annotated[str, typer.Argument(metavar="CAPABILITY", help="What is to be done.")]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        metavar="JSON|@FILE|-",
        show_default=False,
        help="The whole input: JSON, a file of it, or standard input.",
    ),
]
Bytes = Annotated[
    str | None,
    typer.Option(
        "--bytes",
        "-b",
        metavar="FILE",
        show_default=False,
        help="The whole input: a file as it is, or - for standard input.",
    ),
]
Session = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="Tasks of one session go to one agent while it has room.",
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        show_default=False,
        help="Nobody wants the result after so long: 30s, 10m.",
    ),
]


def submit(
    capability: Capability,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", show_default=False, help="The input, or - for many."),
    ] = None,
    whole: Input = None,
    raw: Bytes = None,
    priority: Annotated[
        int, typer.Option("--priority", "-p", min=0, max=2, help="0 first, 2 last.")
    ] = 1,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            show_default=False,
            help="Idempotency key: however often submitted, one task and one result.",
        ),
    ] = None,
    deadline: Deadline = None,
    max_attempts: Annotated[
        int | None,
        typer.Option(min=1, max=1000, show_default=False, help="Attempts until it is dead; 3."),
    ] = None,
    select: Select = "",
    session: Session = None,
    require_agent: Annotated[
        bool, typer.Option("--require-agent", help="Refuse it if no agent can take it now.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help="Submit it then: 2026-12-24T08:00 (local time) or +10m.",
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            metavar="PERIOD",
            show_default=False,
            help="Submit it again and again: 5m, @hourly, or cron in UTC ('0 8 * * 1').",
        ),
    ] = None,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            show_default=False,
            help="Wait for the result, or print the id only. Waits, but not with --at.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            "-t",
            metavar="DURATION",
            show_default=False,
            help="Wait so long at most; then exit 4, and the task goes on.",
        ),
    ] = None,
    progress: Annotated[bool, typer.Option("--progress", help="Show progress on stderr.")] = False,
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    options = _options(select, session, deadline, require_agent)
    if priority != 1:
        options["priority"] = priority
    if key is not None:
        options["key"] = key
    if max_attempts is not None:
        options["max_attempts"] = max_attempts
    patience = None if timeout is None else span(timeout)
    if at is not None and every is not None:
        raise typer.BadParameter("give --at or --every, not both")
    if pairs == ["-"]:
        if key is not None or at is not None or every is not None or whole or raw:
            raise typer.BadParameter("- goes with none of --key, --at, --every, --input, --bytes")
        from fleetbus.task.stream import Stream

        stream = Stream(capability, options, wait is not False, patience, as_json)
        raise typer.Exit(run(_many(stream, url, fleet)))
    value = _value(pairs or [], whole, raw)
    if every is not None:
        if wait:
            raise typer.BadParameter("--every has no one result to wait for")
        run(_every(capability, value, every, options, as_json, url, fleet))
        return
    when = None if at is None else moment(at)
    waits = when is None if wait is None else wait

    async def work() -> int:
        async with connected(url, fleet) as client:
            handle = await client.submit(capability, value, at=when, **options)
            if waits:
                return await _result(handle, patience, progress, as_json)
            _id(handle.id, as_json)
            return 0

    raise typer.Exit(run(work()))


def call(
    capability: Capability,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", show_default=False, help="The input."),
    ] = None,
    whole: Input = None,
    raw: Bytes = None,
    select: Select = "",
    session: Session = None,
    timeout: Annotated[
        str,
        typer.Option("--timeout", "-t", metavar="DURATION", help="Wait so long at most."),
    ] = "10s",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    options = _options(select, session, None, False)
    value = _value(pairs or [], whole, raw)
    raise typer.Exit(run(_call(capability, value, span(timeout), options, as_json, url, fleet)))


def _options(
    select: str, session: str | None, deadline: str | None, require_agent: bool
) -> "TaskOptions":
    options: TaskOptions = {}
    if select:
        options["select"] = select
    if session is not None:
        options["session"] = session
    if deadline is not None:
        options["deadline"] = span(deadline)
    if require_agent:
        options["require_agent"] = True
    return options


def _value(pairs: list[str], whole: str | None, raw: str | None) -> Any:
    try:
        return value_of(pairs, whole, raw)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


def _id(task_id: str, as_json: bool) -> None:
    if as_json:
        console.print_json({"task": task_id})
    else:
        print(task_id, flush=True)


async def _result(
    handle: "TaskHandle", timeout: float | None, progress: bool, as_json: bool
) -> int:
    shower = asyncio.create_task(_show_progress(handle)) if progress else None
    try:
        result = await handle.outcome(timeout)
        if shower is not None:
            await shower
    except asyncio.CancelledError:
        console.hint(f"the task goes on: fleetbus task get {handle.id}")
        raise
    finally:
        if shower is not None:
            shower.cancel()
    return show.end(result, as_json)


async def _show_progress(handle: "TaskHandle") -> None:
    async for one in handle.progress():
        show.progress(one)


async def _every(
    capability: str,
    value: Any,
    every: str,
    options: "TaskOptions",
    as_json: bool,
    url: str | None,
    fleet: str | None,
) -> None:
    async with connected(url, fleet) as client:
        schedule_id = await client.submit(capability, value, every=every, **options)
    if as_json:
        console.print_json({"schedule": schedule_id})
    else:
        print(schedule_id, flush=True)
        console.hint(f"end it with: fleetbus task schedules remove {schedule_id}")


async def _many(stream: Any, url: str | None, fleet: str | None) -> int:
    async with connected(url, fleet) as client:
        return int(await stream.run(client))


async def _call(
    capability: str,
    value: Any,
    timeout: float,
    options: "TaskOptions",
    as_json: bool,
    url: str | None,
    fleet: str | None,
) -> int:
    async with connected(url, fleet) as client:
        result = await client.calls.outcome(capability, value, timeout=timeout, **options)
    return show.end(result, as_json)
