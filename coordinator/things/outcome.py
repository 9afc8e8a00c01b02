"""From what a device says of a task's end to the task's result. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from bus import codec
from bus.errors import DecodeError
from bus.subjects import TASK_ID
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from bus.wire.thing import ThingError, ThingResult
from coordinator.things.record import Holding

_TASK: Final = re.compile(rb'"task"\s*:\s*"(%b)"' % TASK_ID.pattern.encode())


def error_of(said: ThingResult) -> ErrorInfo:
    """Why it failed, as the device says."""
    given = said.error
    return ErrorInfo(given.message, given.kind) if given else ErrorInfo("no reason given")


def unreadable(data: bytes, problem: DecodeError) -> ThingResult | None:
    """What a result amounts to that is too big, no JSON or of wrong types: its task has failed.
    None if it does not even say which. A thing can end no tasks but its own, so a guess will do."""
    found = _TASK.search(data)
    if found is None:
        return None
    error = ThingError(str(problem)[:1000], "Malformed")
    return ThingResult(found[1].decode(), "failed", error=error)


def took(said: ThingResult, job: Holding | None, at_ms: int) -> float:
    """Milliseconds that a task took. If the device does not say, those between it was given the
    task and the broker had its result."""
    if said.run_ms > 0 or job is None:
        return said.run_ms
    return float(max(0, at_ms - job.taken_ms))


def result_of(thing: str, said: ThingResult, job: Holding | None, run_ms: float) -> Result:
    """The result of a task that ``thing`` was given; ``job`` is None if it was handed back since.

    Bytes that are no base64 end it as failed: else the device would say so for ever.
    """
    attempt = job.attempt if job else 0
    queued = job.queued_ms if job else 0.0
    state, error = said.state, None
    output, content_type = b"", h.JSON
    if state != "completed":
        error = error_of(said)
    elif said.output_base64:
        try:
            output = base64.b64decode(said.output_base64, validate=True)
            content_type = said.content_type or h.OCTETS
        except (binascii.Error, ValueError) as problem:
            state, error = "failed", ErrorInfo(f"output_base64: {problem}", "Malformed")
    else:
        output = codec.encode(said.output)
    return Result(said.task, state, output, content_type, thing, attempt, error, queued, run_ms)


def again(said: ThingResult, job: Holding | None) -> bool:
    """Whether it failed and is to be tried again. Calls are not: their callers decide."""
    return job is not None and said.state == "failed" and said.retry and not job.reply


def repeated(said: ThingResult, job: Holding | None) -> bool:
    """Whether it says again how an earlier attempt has failed, while the next is with it. It must
    not cost that one."""
    return job is not None and said.retry and 0 < said.attempt < job.attempt
