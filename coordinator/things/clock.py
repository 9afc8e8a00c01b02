"""The broker's time, as far as it can be told from its messages.

What a thing's record says was stamped by the broker. Compared with the clock of a coordinator that
goes wrong, or is set, every thing would be late, or none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

WINDOW: Final = 600_000
"""Milliseconds after which what was measured is forgotten: clocks drift, and are set."""


def _steady() -> int:
    return time.monotonic_ns() // 1_000_000


def _wall() -> int:
    return time.time_ns() // 1_000_000


class Clock:
    """Our steady clock less by how much it is ahead: the least that a message was ever old when it
    came. It takes the time of a message's way for a difference, which matters to nobody here."""

    def __init__(
        self, steady: Callable[[], int] = _steady, wall: Callable[[], int] = _wall
    ) -> None:
        """Both in milliseconds. ``wall`` is asked once: nobody has heard of the broker's yet."""
        self._steady = steady
        self._since = steady()
        self._ahead = self._since - wall()
        self._next: int | None = None
        """The least in this window; None before the first message."""

    def heard(self, stored_ms: int) -> None:
        """A message came that the broker had stamped."""
        now = self._steady()
        ahead = now - stored_ms
        if self._next is None:
            self._since, self._ahead, self._next = now, ahead, ahead
        elif now - self._since > WINDOW:
            self._since, self._ahead, self._next = now, min(self._next, ahead), ahead
        self._ahead = min(self._ahead, ahead)
        self._next = min(self._next, ahead)

    def now(self) -> int:
        """Unix milliseconds."""
        return self._steady() - self._ahead
