"""Was this process away? Stopped by a signal, a debugger, a paused machine, a blocked loop."""

from __future__ import annotations

import time


class Stall:
    """Tells what has just come from what lay in the socket while nobody read it.

    What lay there for longer than the ack wait has been given to somebody else by the broker.

    Args:
        catch_up: seconds that it takes to read all that has come meanwhile.
    """

    def __init__(self, catch_up: float) -> None:
        self._catch_up = catch_up
        self._awake_at = time.monotonic()
        self._stale_until = 0.0

    def tick(self, limit: float) -> None:
        """To be called several times in ``limit`` seconds while all is well."""
        now = time.monotonic()
        if now - self._awake_at > limit:
            self._stale_until = now + self._catch_up
        self._awake_at = now

    def forgive(self) -> None:
        """It is known that nothing has come since the last tick."""
        self._awake_at = time.monotonic()

    def stale(self, now: float, limit: float) -> bool:
        """True if what comes ``now``, on the monotonic clock, may have lain there for longer
        than ``limit`` seconds."""
        # The timer behind ``tick`` may run before the socket is read, or after.
        return now - self._awake_at > limit or now < self._stale_until
