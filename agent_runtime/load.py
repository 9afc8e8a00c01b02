"""How much an agent has to do, and how much more it will take."""

from __future__ import annotations

from typing import Final

FEEDBACK: Final = 0.004
"""Seconds between two load reports at the most often: so long at most a slot that is free again
waits to be heard of."""

QUARTER: Final = 4
"""A report is due when so many-th part of the window is done, or is all that is known free."""

ROUND: Final = 0.010
"""Seconds from the end of a task to the begin of the one that its report brings, beside the time
that the network takes: reports that are held back, and turns of three event loops."""

MAX_ROUND: Final = 0.25
"""Seconds; what takes longer is a stall, and not to be covered by taking more work."""

MAX_PREFETCH: Final = 1024

EWMA: Final = 0.1
"""Weight of the newest run time in the moving averages."""

SHORTEST_MS: Final = 0.001
"""No run is taken to be shorter: a mean of logarithms knows no zero."""

HALF_LIFE: Final = 600.0
"""Seconds without a run in which what is known of a capability is halved: an agent that seems
slow, or failed, is tried again some day."""

LEFT: Final = 1 / 8
"""Of a run time, what is left at the least: enough to be tried again. It is not forgotten: with
the next run it counts in full."""

FORGIVEN: Final = 0.05
"""Of a failure, what is as good as none."""


def prefetch(slots: int, service: float, feedback: float = ROUND) -> int:
    """Tasks to hold beyond the running ones so that slots do not idle between load reports.

    Little's law: what completes in one feedback delay, at the rate that ``slots`` workers
    with a mean run time of ``service`` seconds could reach. Long tasks give 0: they must not
    queue behind each other while another agent is idle. 0 too while nothing is known.
    """
    if service <= 0.0:
        return 0
    return min(MAX_PREFETCH, int(slots * feedback / service))


def feedback(round_trip: float) -> float:
    """The feedback delay for :func:`prefetch`, in seconds: a report goes to the broker and on to
    a coordinator, and what it brings comes the same way."""
    return min(MAX_ROUND, ROUND + 2 * round_trip)


class Load:
    """Counters of one agent. All counts are tasks and calls together."""

    __slots__ = (
        "accepted",
        "aged",
        "beat_at",
        "beat_done",
        "beat_runs",
        "beat_window",
        "canceled",
        "done",
        "failed",
        "failing",
        "feedback",
        "known",
        "last_round_trip",
        "queued",
        "refused_results",
        "running",
        "runs",
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
        """Typical run time of each capability: a moving geometric mean, since a mean of a few
        long tasks among many short ones would say next to nothing of the agent's speed."""
        self.aged: dict[str, float] = {}
        """Of ``service_ms``, the share that is left where there was no run of late."""
        self.failing: dict[str, float] = {}
        """Failures of late by capability; none that are as good as forgotten."""
        self.runs: dict[str, int] = {}
        """Runs of each capability that completed or failed."""
        self.service = 0.0
        """Moving average of all run times, in seconds."""
        self.feedback = ROUND
        """Seconds until a report brings work."""
        self.last_round_trip = 0.0
        """Seconds."""
        self.known = slots
        """Room that coordinators know of: what the last heartbeat said, less what came since."""
        self.beat_at = 0.0
        """When the last heartbeat was sent, on the monotonic clock."""
        self.beat_done = 0
        """``done`` at the last heartbeat."""
        self.beat_runs: dict[str, int] = {}
        """``runs`` at the last heartbeat."""
        self.beat_window = slots
        """``window`` at the last heartbeat: all the room that coordinators know of."""

    @property
    def room(self) -> int:
        """Tasks that it would take now."""
        return self.window - self.running - self.queued

    def took(self, round_trip: float) -> None:
        """A message to the broker and its answer took so many seconds.

        Of two the shorter counts: one alone may be long because this process stood still.
        """
        self.feedback = feedback(min(round_trip, self.last_round_trip))
        self.last_round_trip = round_trip

    def reported(self, now: float) -> None:
        """A heartbeat is being sent, ``now`` on the monotonic clock."""
        halves = (now - self.beat_at) / HALF_LIFE if self.beat_at else 0.0
        self.beat_at = now
        self.beat_done, self.beat_window, self.known = self.done, self.window, self.room
        for capability, runs in self.runs.items():
            if runs == self.beat_runs.get(capability):
                self._age(capability, 0.5**halves)
            else:
                self.beat_runs[capability] = runs

    def accept(self, coordinator: str) -> None:
        """A task was taken."""
        self.queued += 1
        self.known -= 1
        self.accepted[coordinator] = self.accepted.get(coordinator, 0) + 1

    def finish(self, capability: str, seconds: float, worked: bool | None = True) -> bool:
        """A run ended; True if a coordinator should hear of it at once.

        Args:
            worked: whether it completed, and so tells how fast this agent is, or failed. None
                if it did neither: it was canceled, or should not have begun.
        """
        self.running -= 1
        self.done += 1
        self.service += (
            EWMA * (seconds - self.service) if self.service > 0.0 else seconds - self.service
        )
        self.window = self.slots + prefetch(self.slots, self.service, self.feedback)
        if worked is not None:
            self.runs[capability] = self.runs.get(capability, 0) + 1
            if worked:
                self._measure(capability, max(SHORTEST_MS, seconds * 1000))
            else:
                self.failing[capability] = self.failing.get(capability, 0.0) + 1.0
        return self.known * QUARTER <= self.window or (self.done - self.beat_done) * QUARTER >= min(
            self.window, self.beat_window
        )

    def _measure(self, capability: str, ms: float) -> None:
        old = self.service_ms.get(capability, ms) / self.aged.pop(capability, 1.0)
        # The first few count alike: the very first may have loaded a model.
        weight = max(EWMA, 1 / self.runs[capability])
        self.service_ms[capability] = old * (ms / old) ** weight
        if capability in self.failing:
            self._forgive(capability, 1 - EWMA)

    def _age(self, capability: str, share: float) -> None:
        if capability in self.service_ms:
            old = self.aged.get(capability, 1.0)
            self.aged[capability] = max(LEFT, old * share)
            self.service_ms[capability] *= self.aged[capability] / old
        if capability in self.failing:
            self._forgive(capability, share)

    def _forgive(self, capability: str, share: float) -> None:
        self.failing[capability] *= share
        if self.failing[capability] < FORGIVEN:
            del self.failing[capability]
