"""What the process uses, as heartbeats report it."""

from __future__ import annotations

import os
import time
from typing import Final

EVERY: Final = 1.0
"""Seconds between two looks at the most often."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Usage:
    """CPU and memory of this process."""

    def __init__(self) -> None:
        self._since = 0.0
        """When it was looked up, on the monotonic clock."""
        self._used = 0.0
        """CPU seconds until then."""
        self._cpu = 0.0
        self._rss = 0

    def measure(self) -> tuple[float, int]:
        """Share of one core since the look before the last, and resident bytes."""
        now = time.monotonic()
        since = self._since
        if now - since >= EVERY:
            process = time.process_time()
            self._cpu = round((process - self._used) / (now - since), 3) if since else 0.0
            self._since, self._used, self._rss = now, process, _resident()
        return self._cpu, self._rss


def _resident() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        # Not Linux: what the process had at its largest is the nearest that is known.
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
