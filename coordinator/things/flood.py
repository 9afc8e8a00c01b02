"""How much a thing may say. More is dropped: a device that has gone mad must not take the
coordinators' time from the others."""

from __future__ import annotations

from typing import Final

RATE: Final = 50.0
"""Messages a second that one thing may send for long, to each coordinator."""

BURST: Final = 200.0
"""Messages that it may send at once."""

ANNOUNCES: Final = (1.0, 20.0)
"""The same for announces. Each new boot is an event and a card that all coordinators hear of."""

MOST: Final = 20_000
"""Things that are watched; all are forgotten when there are more."""


class Flood:
    """A token bucket a thing. Pure but for what it remembers."""

    def __init__(self, rate: float = RATE, burst: float = BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}
        """By thing: messages that it may send, and when that was so."""

    def over(self, thing: str, now: float) -> bool:
        """True if this message is one too many. ``now`` is on the monotonic clock."""
        left, since = self._left.get(thing, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if len(self._left) > MOST:
            self._left.clear()
        self._left[thing] = (max(0.0, left - 1.0), now)
        return left < 1.0
