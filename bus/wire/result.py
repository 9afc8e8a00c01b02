"""A task's one terminal result, as a message."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from bus import codec
from bus.errors import (
    DecodeError,
    NoAgent,
    TaskCanceled,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskRejected,
)
from bus.lifecycle import TERMINAL
from bus.wire import headers as h
from bus.wire.task import ErrorInfo, TaskState


class Result(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How a task ended. ``output`` is the body as the agent encoded it."""

    task: str
    state: TaskState
    output: bytes = b""
    content_type: str = h.JSON
    agent: str = ""
    attempt: int = 0
    error: ErrorInfo | None = None
    queued_ms: float = 0.0
    """From stored by the broker to started by the agent."""
    run_ms: float = 0.0
    usage: dict[str, Any] = {}
    payload: str = ""
    """Name of the object that holds the output, where it is too big for a message."""

    def value(self, kind: Any = Any) -> Any:
        """The output decoded: bytes for octets, else JSON as ``kind``.

        Raises:
            TaskFailed, TaskRejected, TaskCanceled, TaskExpired: it did not complete.
            DecodeError: the output is not a ``kind``.
        """
        if self.state != "completed":
            raise self.failure()
        if self.content_type == h.OCTETS:
            return self.output
        if not self.output:
            return None
        # It may be big: one that came by reference is bounded by the payload bucket only.
        return codec.decode(kind, self.output, f"output of task {self.task}", limit=None)

    def failure(self) -> TaskError:
        """The error that a state other than ``completed`` stands for."""
        error = self.error or ErrorInfo("no reason given")
        match self.state:
            case "canceled":
                return TaskCanceled(self.task, error.message)
            case "expired":
                return TaskExpired(self.task, error.message)
            case "rejected" if error.kind == "NoAgent":
                return NoAgent(self.task, error.message)
            case "rejected":
                where = f"{error.field}: " if error.field else ""
                return TaskRejected(self.task, where + error.message, field=error.field)
            case _:
                return TaskFailed(
                    self.task,
                    error.message,
                    kind=error.kind,
                    attempt=self.attempt,
                    agent=self.agent,
                )


ONCE = h.line(h.EXPECT_LAST_SUBJECT_SEQ, "0")
"""Makes the broker refuse a second result for the same task."""


def encode(result: Result, once: bool = False) -> bytes:
    """The header block of a result; its body is ``result.output``.

    JSON is what a reader assumes, and is not said. With ``once`` the broker is told to refuse it
    if there is one already.
    """
    lines = [f"Fleet-State: {result.state}\r\n"]
    if result.content_type != h.JSON:
        lines.append(f"Content-Type: {result.content_type}\r\n")
    if result.agent:
        lines.append(f"Fleet-Agent: {result.agent}\r\n")
    if result.attempt:
        lines.append(f"Fleet-Attempt: {result.attempt}\r\n")
    if result.error is not None:
        lines.append(f"Fleet-Error: {error_json(result.error)}\r\n")
    if result.queued_ms:
        lines.append(f"Fleet-Queued-Ms: {result.queued_ms:.3f}\r\n")
    if result.run_ms:
        lines.append(f"Fleet-Run-Ms: {result.run_ms:.3f}\r\n")
    if result.usage:
        lines.append(f"Fleet-Usage: {ascii_json(result.usage)}\r\n")
    if result.payload:
        lines.append(f"Fleet-Payload: {result.payload}\r\n")
    if once:
        lines.append(f"{h.EXPECT_LAST_SUBJECT_SEQ}: 0\r\n")
    return h.join(lines)


_OURS: Final = re.compile(rb"\n(?:Fleet-|Content-Type)")

_USUAL: Final = re.compile(
    rb"NATS/1\.0\r\nFleet-State: completed\r\n"
    rb"(?:Content-Type: (application/octet-stream)\r\n)?"
    rb"Fleet-Agent: ([\w-]+)\r\nFleet-Attempt: (\d{1,9})\r\n"
    rb"Fleet-Queued-Ms: (\d{1,15}\.\d{3})\r\nFleet-Run-Ms: (\d{1,15}\.\d{3})\r\n"
)
"""How ``encode`` begins with most results; the broker's headers may follow. Read at once this
costs a quarter of what taking the block apart does."""


def read(task: str, block: bytes, data: bytes) -> Result:
    """Read a result as it arrived: its header block and its body.

    Raises:
        DecodeError: a header is missing or holds what it must not.
    """
    usual = _USUAL.match(block)
    if usual is None or _OURS.search(block, usual.end() - 1) is not None:
        return decode(task, h.decode(block), data)
    octets, agent, attempt, queued, run = usual.groups()
    return Result(
        task,
        "completed",
        data,
        h.OCTETS if octets else h.JSON,
        agent.decode(),
        int(attempt),
        None,
        float(queued),
        float(run),
    )


def decode(task: str, headers: h.Headers, data: bytes) -> Result:
    """Read a result from its parts.

    Raises:
        DecodeError: a header is missing or holds what it must not.
    """
    state = headers.get(h.STATE, "")
    if state not in TERMINAL:
        raise DecodeError(f"result of task {task}", f"{h.STATE} is {state!r}, not how a task ends")
    try:
        error = headers.get(h.ERROR)
        usage = headers.get(h.USAGE)
        return Result(
            task=task,
            state=state,
            output=data,
            content_type=headers.get(h.CONTENT_TYPE, h.JSON),
            agent=headers.get(h.AGENT, ""),
            attempt=int(headers.get(h.ATTEMPT, "0")),
            error=codec.decode(ErrorInfo, error.encode()) if error else None,
            queued_ms=float(headers.get(h.QUEUED_MS, "0")),
            run_ms=float(headers.get(h.RUN_MS, "0")),
            usage=codec.decode(dict[str, Any], usage.encode(), h.USAGE) if usage else {},
            payload=headers.get(h.PAYLOAD, ""),
        )
    except ValueError as problem:
        raise DecodeError(f"result of task {task}", str(problem)) from None


MAX_ERROR: Final = 1000
"""Characters of an error's message that travel: it is a header, and those are bounded."""


def error_json(error: ErrorInfo) -> str:
    """An error as the value of a header, shortened to what fits."""
    message = error.message
    if len(message) > MAX_ERROR:
        message = f"{message[:MAX_ERROR]}… ({len(message)} characters)"
    return ascii_json(ErrorInfo(message, error.kind[:100], error.field[:200]))


def ascii_json(value: object) -> str:
    """JSON that may stand in a header: one line, and no byte that could be misread."""
    text = codec.encode(value).decode()
    return text if text.isascii() else json.dumps(json.loads(text))
