"""How a task's end is shown."""

import sys
from typing import TYPE_CHECKING, Any

from fleetbus import console
from fleetbus.exits import exit_of

if TYPE_CHECKING:
    from bus.wire.result import Result
    from bus.wire.task import Progress


def summary(result: "Result", **more: Any) -> dict[str, Any]:
    """A result for scripts. ``output`` is decoded JSON, or base64 where it is bytes."""
    return {
        **more,
        "task": result.task,
        "state": result.state,
        "output": output(result),
        "error": None if result.error is None else console.full(result.error),
        "agent": result.agent,
        "attempt": result.attempt,
        "queued_ms": result.queued_ms,
        "run_ms": result.run_ms,
        "usage": result.usage,
    }


def output(result: "Result") -> Any:
    """The output of a completed task, decoded; None for any other."""
    return result.value() if result.state == "completed" else None


def end(result: "Result", as_json: bool) -> int:
    """Show one result; returns the exit status that stands for it."""
    if as_json:
        console.print_json(summary(result))
    else:
        _for_people(result)
    if result.state == "completed":
        return 0
    problem = result.failure()
    if not as_json:
        where = f" (attempt {result.attempt} on {result.agent})" if result.agent else ""
        console.say(f"{result.state}: {problem}{where}", "error", "31")
    return int(exit_of(problem))


def line(result: "Result") -> str:
    """One of many results, on one line."""
    if result.state == "completed":
        value = output(result)
        shown = f"{len(value)} bytes" if isinstance(value, bytes) else console.to_json(value)
    else:
        shown = result.error.message if result.error else ""
    return console.clean(f"{result.task} {result.state} {shown}")


def progress(one: "Progress") -> None:
    """A line of progress on stderr."""
    parts = []
    if one.fraction >= 0:
        parts.append(f"{one.fraction:.0%}")
    if one.message:
        parts.append(one.message)
    if one.value is not None:
        parts.append(console.to_json(one.value))
    console.hint(f"{one.agent}: {' '.join(parts) or one.seq}")


def _for_people(result: "Result") -> None:
    if result.state != "completed":
        return
    value = output(result)
    if isinstance(value, bytes):
        if sys.stdout.isatty():
            console.hint(f"{len(value)} bytes: send them to a file with > FILE")
        else:
            sys.stdout.buffer.write(value)
            sys.stdout.buffer.flush()
    elif isinstance(value, str):
        text = value
        if sys.stdout.isatty():
            text = "\n".join(console.clean(one) for one in value.split("\n"))
        print(text, flush=True)
    elif value is not None:
        console.print_document(value)
    ms = (result.queued_ms + result.run_ms) / 1000
    tried = f", attempt {result.attempt}" if result.attempt > 1 else ""
    console.hint(f"{result.task} completed on {result.agent} in {console.duration(ms)}{tried}")
