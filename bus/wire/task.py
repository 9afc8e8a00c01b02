"""A task's result, and what goes with it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

TaskState = Literal[
    "submitted",
    "working",
    "input-required",
    "completed",
    "failed",
    "canceled",
    "rejected",
    "expired",
]


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a task did not complete; the value of the ``Fleet-Error`` header."""

    message: str
    kind: str = ""
    """The error's type, for example ``ValueError``."""
    field: str = ""
    """The input at fault, for example ``doc.items[3].name``."""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sign of life from a running task."""

    agent: str
    attempt: int
    seq: int
    """Counts up from 1 within an attempt."""
    value: Any = None
    message: str = ""
    fraction: float = -1.0
    """0 to 1, or -1 where the handler does not know."""


class DeadTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task that ran out of attempts. The body of the DEAD message is the task's payload;
    this is what its headers say, as the client reads it."""

    task: str
    capability: str
    error: ErrorInfo
    attempt: int = 0
    agent: str = ""
    dead_ms: int = 0
    payload: bytes = b""
    content_type: str = ""
