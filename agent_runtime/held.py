"""A task or call that this agent has taken and not yet answered."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import Future
from enum import Enum, auto
from typing import Any, Final

from agent_runtime.capability import Offer
from bus import acks
from bus.errors import DecodeError, InvalidName
from bus.subjects import TASK_ID
from bus.transport import Inbound
from bus.wire import headers as h

DEFAULT_MAX_ATTEMPTS: Final = 3

_TRACE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
"""Another trace context would be passed on to everything that the handler asks for."""


class Stage(Enum):
    """Where a held task is on its way through the agent."""

    QUEUED = auto()
    RUNNING = auto()
    ENDING = auto()
    """The handler is done; the result is being stored."""


class Held:
    """One task (``ack`` is set) or call (``reply`` is set)."""

    __slots__ = (
        "ack",
        "attempt",
        "begun",
        "caller",
        "canceled",
        "content_type",
        "data",
        "deadline",
        "headers",
        "id",
        "leased_until",
        "max_attempts",
        "offer",
        "payload",
        "queued_ms",
        "redelivered",
        "reply",
        "runner",
        "since",
        "stage",
        "thread",
        "trace",
        "usage",
        "via",
    )

    def __init__(self, message: Inbound, offer: Offer, now: float, lease: float) -> None:
        """Read a dispatch.

        Raises:
            DecodeError: a header is missing or holds what it must not.
        """
        fields = message.headers
        try:
            self.id = fields[h.TASK]
            if not TASK_ID.fullmatch(self.id):
                raise InvalidName("task id (two names joined by a dot)", self.id)
            self.ack = fields.get(h.ACK, "")
            self.reply = fields.get(h.REPLY, "")
            self.attempt = int(fields.get(h.ATTEMPT, "1"))
            self.max_attempts = int(fields.get(h.MAX_ATTEMPTS, DEFAULT_MAX_ATTEMPTS))
            self.deadline = int(fields.get(h.DEADLINE, "0")) / 1000
        except (KeyError, ValueError, OverflowError, InvalidName) as problem:
            raise DecodeError("dispatch", f"bad or missing header: {problem}") from None
        # One token: a blank would make two of it in what we send there.
        if len((self.ack or self.reply).split()) != 1:
            raise DecodeError("dispatch", f"neither a good {h.ACK} nor a good {h.REPLY}")
        delivery = acks.parse(self.ack) if self.ack else None
        self.redelivered = delivery is not None and delivery.delivered > 1
        """The broker has given it out before: to us, to others, or to somebody who died."""
        self.offer = offer
        self.data = message.data
        self.headers = fields
        self.content_type = fields.get(h.CONTENT_TYPE, h.JSON)
        self.payload = fields.get(h.PAYLOAD, "")
        trace = fields.get(h.TRACEPARENT, "")
        self.trace = trace if trace and _TRACE.fullmatch(trace) else ""
        """The trace context that it came with; empty if it begins a trace."""
        self.caller = fields.get(h.CALLER) or self.id.partition(".")[0]
        self.via = fields.get(h.VIA, "")
        self.since = now
        """When it was taken, on the monotonic clock."""
        self.leased_until = now + lease
        """When the broker gives it to somebody else unless it hears of it."""
        self.queued_ms = 0.0
        if delivery is not None:
            self.queued_ms = max(0.0, (time.time_ns() - delivery.stored_ns) / 1e6)
        self.stage = Stage.QUEUED
        self.runner: asyncio.Task[None] | None = None
        self.thread: Future[Any] | None = None
        """What a plain function runs in. It may outlive the outcome."""
        self.begun = False
        """The runner has taken its first step: only then can it be interrupted cleanly."""
        self.canceled: str | None = None
        """Why it was canceled, if it was."""
        self.usage: dict[str, float] = {}
