"""How a handler's run ended. ``delivery`` turns each into one acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bus.wire.task import ErrorInfo


class Completed(msgspec.Struct, frozen=True):
    """The handler returned."""

    output: bytes
    content_type: str


class Failed(msgspec.Struct, frozen=True):
    """The handler failed for good."""

    error: ErrorInfo


class Again(msgspec.Struct, frozen=True):
    """The handler failed in a way that may pass. ``after`` is in seconds, None for backoff."""

    error: ErrorInfo
    after: float | None = None


class Rejected(msgspec.Struct, frozen=True):
    """The input does not fit; the handler was not entered."""

    error: ErrorInfo


class Canceled(msgspec.Struct, frozen=True):
    """Somebody canceled the task."""

    error: ErrorInfo


class Expired(msgspec.Struct, frozen=True):
    """The deadline passed."""

    error: ErrorInfo


class HandedBack(msgspec.Struct, frozen=True):
    """The agent gives the task back; ``started`` says whether this counts as an attempt."""

    started: bool


Outcome = Completed | Failed | Again | Rejected | Canceled | Expired | HandedBack


class Retry(Exception):  # raised as a request, not reported as an error
    """Raised by a handler: try again, here or on another agent.

    Args:
        reason: shown if the attempts run out.
        after: seconds to wait; None for exponential backoff with jitter.
    """

    def __init__(self, reason: str = "retry requested", *, after: float | None = None) -> None:
        if after is not None and after < 0:
            raise ValueError(f"Retry(after={after!r}): seconds must not be negative")
        self.after = after
        super().__init__(reason)


def contained(work: Callable[[], Any]) -> Any:
    """Call a plain function in a thread: a future cannot hold StopIteration, and whoever
    awaits it would wait for ever."""
    try:
        return work()
    except StopIteration as problem:
        raise RuntimeError("a plain function raised StopIteration") from problem
