"""One task or call on its way through a coordinator."""

from __future__ import annotations

import re
import time
from typing import Final

from bus.errors import DecodeError
from bus.wire import headers as h
from coordinator.pool import Pool

DEFAULT_MAX_ATTEMPTS: Final = 3

_OURS: Final = re.compile(
    rb"\r\nFleet-(?:Ack|Reply|Probe|Via|Attempt|Task|Capability|Incarnation|Busy):"
)
"""Headers that only a coordinator or agent may set. A client's own would be believed."""

_MATTERS: Final = re.compile(rb"\r\nFleet-(?:Deadline|Select|Session|Max-Attempts):")
"""Headers that a coordinator looks at."""


class Work:
    """``ack`` is set on a task, ``reply`` on a call."""

    __slots__ = (
        "ack",
        "attempt",
        "block",
        "capability",
        "data",
        "deadline",
        "first",
        "max_attempts",
        "pool",
        "priority",
        "renewed",
        "reply",
        "ruled_out",
        "select",
        "sequence",
        "session",
        "since",
        "task_id",
    )

    pool: Pool

    def __init__(
        self,
        capability: str,
        priority: int,
        task_id: str,
        data: bytes,
        block: bytes,
        ack: str = "",
        reply: str = "",
        sequence: int = 0,
    ) -> None:
        """Read what routing needs from the headers.

        Raises:
            DecodeError: a header holds what it must not.
        """
        self.capability = capability
        self.priority = priority
        self.task_id = task_id
        self.data = data
        self.ack = ack
        self.reply = reply
        self.sequence = sequence
        """In the task stream; 0 for a call."""
        self.attempt = 1
        self.first = True
        """The broker has not given it out before."""
        self.deadline = 0.0
        self.max_attempts = DEFAULT_MAX_ATTEMPTS
        self.select = ""
        self.session = ""
        self.ruled_out: set[str] | None = None
        """Agents that have refused it."""
        self.since = self.renewed = time.monotonic()
        if block and not _sound(block):
            raise DecodeError(f"task {task_id}", "its headers are not a header block")
        self.block = block
        # Most tasks have none of these headers, and are not looked through any further.
        if b"\r\nFleet-" in block:
            if _OURS.search(block):
                self.block = block = _without_ours(block)
            if _MATTERS.search(block):
                self._read(h.decode(block))

    def _read(self, fields: h.Headers) -> None:
        try:
            self.deadline = int(fields.get(h.DEADLINE, "0")) / 1000
            self.max_attempts = int(fields.get(h.MAX_ATTEMPTS, DEFAULT_MAX_ATTEMPTS))
        except (ValueError, OverflowError) as problem:
            raise DecodeError(f"task {self.task_id}", f"bad header: {problem}") from None
        self.select = fields.get(h.SELECT, "")
        self.session = fields.get(h.SESSION, "")

    def rule_out(self, agent: str) -> None:
        """Do not send it to this agent again while it is here."""
        if self.ruled_out is None:
            self.ruled_out = set()
        self.ruled_out.add(agent)


def _sound(block: bytes) -> bool:
    """False for what the server stores all the same: an agent would read the lines that are
    added to it otherwise than we, or not at all, and nobody could ever end the task."""
    breaks = block.count(b"\r\n")
    return (
        block.startswith(b"NATS/1.0\r\n")
        and block.endswith(b"\r\n\r\n")
        and block.count(b"\n") == breaks
        and block.count(b"\r") == breaks
    )


def _without_ours(block: bytes) -> bytes:
    first, *lines = block.split(b"\r\n")
    kept = [line for line in lines if not _OURS.match(b"\r\n" + line)]
    return b"\r\n".join([first, *kept])
