"""How much an agent has to do, and how fast it is. Nothing here does I/O."""

from math import exp, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EWMA = 0.1
"""Weight of the newest run in the moving mean."""
HALF_LIFE = 600_000
"""Milliseconds without a run in which what is known of a capability is halved: an agent that
seems slow, or failed, is tried again some day."""
LEFT = 0.125
"""Of a run time, what is left at the least."""
MOST = 16
"""Coordinators that are counted for: each new process of one has a name of its own."""


class Load:
    """Counters of one agent: tasks and calls together."""

    def __init__(self, slots: int, queue: int) -> None:
        self.slots = slots
        self.window = slots + queue
        self.running = 0
        self.queued = 0
        self.done = 0
        self.failed = 0
        self.canceled = 0
        self.accepted: dict[str, int] = {}
        """Taken since the start, by coordinator; of late ones only."""
        self._late: list[str] = []
        """The same, in the order in which they were heard last."""
        self.service_ms: dict[str, float] = {}
        """Typical run time by capability: a moving geometric mean of runs that completed."""
        self.failing: dict[str, float] = {}
        """Failures of late by capability."""
        self._runs: dict[str, int] = {}
        """That completed, or failed."""
        self._seen: dict[str, int] = {}
        """The same at the last heartbeat."""
        self._aged: dict[str, float] = {}
        """Of ``service_ms``, the share that is left where there was no run of late."""
        self._told = 0
        self._known = self.window

    def accept(self, coordinator: str) -> None:
        """A task was taken, or taken over."""
        if coordinator in self._late:
            self._late.remove(coordinator)
        elif len(self._late) >= MOST:
            del self.accepted[self._late.pop(0)]
        self._late.append(coordinator)
        self.accepted[coordinator] = self.accepted.get(coordinator, 0) + 1

    def took(self) -> None:
        """One that was taken waits for a slot."""
        self.queued += 1
        self._known -= 1

    def finish(self, capability: str, ms: float, worked: "bool | None") -> bool:
        """A run has ended; True if coordinators should hear of it at once. ``worked`` is None if
        it says nothing of this agent."""
        self.running -= 1
        self.done += 1
        if worked is not None:
            self._runs[capability] = self._runs.get(capability, 0) + 1
        if worked:
            ms = max(ms, 0.001)
            # What was forgotten counts again.
            old = self.service_ms.get(capability, ms) / self._aged.pop(capability, 1.0)
            # The first few count alike: the very first may have loaded a model.
            share = max(EWMA, 1 / self._runs[capability])
            self.service_ms[capability] = old * exp(log(ms / old) * share)
            self._forgive(capability, 1 - EWMA)
        elif worked is not None:
            self.failing[capability] = self.failing.get(capability, 0.0) + 1.0
        return (self.done - self._told) * 4 >= self.window or self._known * 4 <= self.window

    def told(self, passed: float) -> None:
        """A heartbeat goes out, ``passed`` milliseconds after the one before."""
        for capability, runs in self._runs.items():
            if runs == self._seen.get(capability):
                self._age(capability, 0.5 ** (passed / HALF_LIFE))
            else:
                self._seen[capability] = runs
        self._told = self.done
        self._known = self.window - self.running - self.queued

    def _age(self, capability: str, share: float) -> None:
        if capability in self.service_ms:
            old = self._aged.get(capability, 1.0)
            self._aged[capability] = max(LEFT, old * share)
            self.service_ms[capability] *= self._aged[capability] / old
        self._forgive(capability, share)

    def _forgive(self, capability: str, share: float) -> None:
        left = self.failing.pop(capability, 0.0) * share
        if left >= 0.05:
            self.failing[capability] = left

    def report(self) -> "dict[str, Any]":
        """Its part of a heartbeat."""
        return {
            "slots": self.slots,
            "window": self.window,
            "running": self.running,
            "queued": self.queued,
            "done": self.done,
            "failed": self.failed,
            "accepted": dict(self.accepted),
            "service_ms": {name: round(ms, 4) for name, ms in self.service_ms.items()},
            "failing": {name: round(times, 2) for name, times in self.failing.items()},
        }
