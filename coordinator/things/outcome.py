"""From what a device says of a task's end to the task's result. Pure."""

from __future__ import annotations

import base64
import binascii

from bus import codec
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from bus.wire.thing import ThingResult
from coordinator.things.record import Holding


def error_of(said: ThingResult) -> ErrorInfo:
    """Why it failed, as the device says."""
    given = said.error
    return ErrorInfo(given.message, given.kind) if given else ErrorInfo("no reason given")


def result_of(thing: str, said: ThingResult, job: Holding | None) -> Result:
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
    return Result(
        said.task, state, output, content_type, thing, attempt, error, queued, said.run_ms
    )


def again(said: ThingResult, job: Holding | None) -> bool:
    """Whether it failed and is to be tried again. Calls are not: their callers decide."""
    return job is not None and said.state == "failed" and said.retry and not job.reply


def repeated(said: ThingResult, job: Holding | None) -> bool:
    """Whether it says again how an earlier attempt has failed, while the next is with it. It must
    not cost that one."""
    return job is not None and said.retry and 0 < said.attempt < job.attempt
