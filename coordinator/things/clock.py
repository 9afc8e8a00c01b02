"""The broker's time, as far as it can be told from its messages.

What a thing's record says was stamped by the broker. Compared with the clock of a coordinator that
goes wrong, every thing would be late, or none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

WINDOW: Final = 600_000
"""Milliseconds after which what was measured is forgotten: clocks drift, and are set."""


def _wall() -> int:
    return time.time_ns() // 1_000_000


class Clock:
    """Our clock less by how much it is ahead: the least that a message was ever old when it came.
    It takes the time of a message's way for a difference, which matters to nobody here."""

    def __init__(self, wall: Callable[[], int] = _wall) -> None:
        self._wall = wall
        self._ahead: int | None = None
        self._next: int | None = None
        self._since = wall()

    def heard(self, stored_ms: int) -> None:
        """A message came that the broker had stamped."""
        now = self._wall()
        ahead = now - stored_ms
        if now - self._since > WINDOW:
            self._since, self._ahead, self._next = now, self._next, None
        self._ahead = ahead if self._ahead is None else min(self._ahead, ahead)
        self._next = ahead if self._next is None else min(self._next, ahead)

    def now(self) -> int:
        """Unix milliseconds."""
        return self._wall() - (self._ahead or 0)
