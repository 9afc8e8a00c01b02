"""How much an agent has to do, and how much more it will take."""

from __future__ import annotations

from typing import Final

FEEDBACK: Final = 0.05
"""Seconds between two load reports at the most often: how stale a coordinator's view can be."""

MAX_PREFETCH: Final = 1024

EWMA: Final = 0.2
"""Weight of the newest run time in the moving average."""


def prefetch(slots: int, service: float, feedback: float = FEEDBACK) -> int:
    """Tasks to hold beyond the running ones so that slots do not idle between load reports.

    Little's law: what completes in one feedback delay, at the rate that ``slots`` workers
    with a mean run time of ``service`` seconds could reach. Long tasks give 0: they must not
    queue behind each other while another agent is idle. 0 too while nothing is known.
    """
    if service <= 0.0:
        return 0
    return min(MAX_PREFETCH, int(slots * feedback / service))


class Load:
    """Counters of one agent. All counts are tasks and calls together."""

    __slots__ = (
        "accepted",
        "beat_done",
        "beat_window",
        "canceled",
        "done",
        "failed",
        "queued",
        "refused_results",
        "running",
        "service",
        "service_ms",
        "slots",
        "window",
    )

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.window = slots
        self.running = 0
        self.queued = 0
        self.done = 0
        """Handlers that have ended, however they did."""
        self.failed = 0
        self.canceled = 0
        self.refused_results = 0
        """Results that the broker refused because the task had one."""
        self.accepted: dict[str, int] = {}
        self.service_ms: dict[str, float] = {}
        self.service = 0.0
        """Moving average of all run times, in seconds."""
        self.beat_done = 0
        """``done`` at the last heartbeat."""
        self.beat_window = slots
        """``window`` at the last heartbeat: all the room that coordinators know of."""

    @property
    def room(self) -> int:
        """Tasks that it would take now."""
        return self.window - self.running - self.queued

    def accept(self, coordinator: str) -> None:
        """A task was taken."""
        self.queued += 1
        self.accepted[coordinator] = self.accepted.get(coordinator, 0) + 1

    def finish(self, capability: str, seconds: float) -> bool:
        """A run ended; True if a coordinator should hear of it at once."""
        was_full = self.running + self.queued >= self.window
        self.running -= 1
        self.done += 1
        ms = seconds * 1000
        old = self.service_ms.get(capability)
        self.service_ms[capability] = ms if old is None else old + EWMA * (ms - old)
        self.service += (
            EWMA * (seconds - self.service) if self.service > 0.0 else seconds - self.service
        )
        self.window = self.slots + prefetch(self.slots, self.service)
        return was_full or (self.done - self.beat_done) * 4 >= min(self.window, self.beat_window)
