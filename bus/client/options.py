"""What a caller may say about a task, and how that becomes headers."""

from __future__ import annotations

import hashlib
import math
import time
from contextvars import ContextVar
from random import Random
from typing import Any, Final, TypedDict

from bus import codec
from bus.errors import TaskRejected
from bus.selectors import Selector
from bus.subjects import PRIORITIES
from bus.wire import headers as h


class TaskOptions(TypedDict, total=False):
    """Keyword arguments of ``submit``, ``submit_many`` and ``call``."""

    priority: int
    """0 first, 1 by default, 2 last."""
    key: str
    """Idempotency key: however often it is submitted, one task and one result."""
    deadline: float
    """Seconds from now after which nobody wants the result."""
    max_attempts: int
    """How often a handler may be started before the task is dead; 3 by default."""
    select: str
    """Label expression that the agent must match, for example ``zone in (a,b),!gpu``."""
    session: str
    """Tasks of one session go to one agent while it has room."""
    require_agent: bool
    """Refuse the task at once if no agent offers the capability now."""
    content_type: str
    headers: dict[str, str]
    """Further headers for the handler to read. Names that begin with Fleet- or Nats- are ours."""


KNOWN: Final = frozenset(TaskOptions.__annotations__)

TRACE: ContextVar[str] = ContextVar("fleetbus_trace", default="")
"""Inherited by what a handler submits: the ``traceparent`` of the task that is being handled,
or its id if it came without one. Empty outside of handlers."""

DEADLINE: ContextVar[int] = ContextVar("fleetbus_deadline", default=0)
"""The deadline, in Unix milliseconds, of the task that is being handled; 0 for none."""


_random = Random()
"""Trace ids must be unlikely to meet, not hard to guess."""


def traceparent() -> str:
    """A W3C trace context, a child of the current task's; empty outside of handlers, since the
    first task of a trace needs none: see ``root_trace``."""
    current = TRACE.get()
    if not current:
        return ""
    if "." in current:
        current = root_trace(current)
    return f"{current[:36]}{_random.getrandbits(64):016x}-{current[-2:]}"


def root_trace(task_id: str) -> str:
    """The W3C trace context of a task that came without one and so begins a trace. It follows
    from the id, so that it is the same in all attempts and for everybody who asks."""
    digest = hashlib.sha256(task_id.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def encode_input(value: Any, content_type: str | None = None) -> tuple[bytes, str]:
    """The body of a task and its content type: bytes as they are, anything else as JSON."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), content_type or h.OCTETS
    return (b"" if value is None else codec.encode(value)), content_type or h.JSON


def priority_token(options: TaskOptions) -> str:
    """``p0``, ``p1`` or ``p2``.

    Raises:
        TaskRejected: the priority is another number.
    """
    priority = options.get("priority", 1)
    if priority not in (0, 1, 2):
        raise TaskRejected("", f"priority {priority!r} is not 0, 1 or 2", field="priority")
    return PRIORITIES[priority]


def deadline_ms(options: TaskOptions) -> int:
    """Unix milliseconds, the earlier of the option and the surrounding task's; 0 for none.

    Raises:
        TaskRejected: the option is not a positive, finite number of seconds.
    """
    seconds = options.get("deadline")
    inherited = DEADLINE.get()
    if seconds is None:
        return inherited
    if not 0 < seconds < math.inf:
        raise TaskRejected(
            "", f"deadline {seconds!r} is not more than 0 s, and finite", field="deadline"
        )
    own = int((time.time() + seconds) * 1000)
    return min(own, inherited) if inherited else own


def header_fields(options: TaskOptions, content_type: str) -> list[tuple[str, str]]:
    """The headers that say ``options`` and what is inherited, checked. JSON and the beginning
    of a trace are what a reader assumes, and are not said.

    Raises:
        InvalidSelector: the selector cannot be parsed.
        TaskRejected: another option is out of its range.
    """
    fields: list[tuple[str, str]] = []
    if content_type != h.JSON:
        fields.append((h.CONTENT_TYPE, content_type))
    if trace := traceparent():
        fields.append((h.TRACEPARENT, trace))
    if deadline := deadline_ms(options):
        fields.append((h.DEADLINE, str(deadline)))
    if not options:
        return fields
    # A misspelt option would change what is promised without a word.
    if not options.keys() <= KNOWN:
        unknown = ", ".join(sorted(options.keys() - KNOWN))
        raise TypeError(f"unknown task option {unknown}; known are {', '.join(sorted(KNOWN))}")
    attempts = options.get("max_attempts")
    if attempts is not None:
        if not 1 <= attempts <= 1000:
            raise TaskRejected(
                "", f"max_attempts {attempts!r} is not 1 to 1000", field="max_attempts"
            )
        fields.append((h.MAX_ATTEMPTS, str(attempts)))
    if select := options.get("select"):
        fields.append((h.SELECT, str(Selector.parse(select))))
    if session := options.get("session"):
        fields.append((h.SESSION, session))
    for name, value in options.get("headers", {}).items():
        if name.lower().startswith(("fleet-", "nats-")) or not name.replace("-", "").isalnum():
            raise TaskRejected("", f"header name {name!r} is not allowed", field="headers")
        fields.append((name, value))
    for name, value in fields:
        if "\r" in value or "\n" in value:
            raise TaskRejected("", f"header {name} holds a line break: {value[:80]!r}")
    return fields
