"""What the demo has seen so far: plain counting, no I/O. Times are monotonic seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bus.wire.heartbeat import Heartbeat
from bus.wire.result import Result
from fleetbus.console import duration


@dataclass(slots=True)
class Row:
    """One agent."""

    agent: str
    slots: int
    state: str = "joining"
    """joining, ready, draining, killed, lost."""
    running: int = 0
    queued: int = 0
    results: int = 0
    """Results that came from it."""


@dataclass(slots=True)
class Failover:
    """What became of the tasks of an agent that was killed."""

    agent: str
    at: float
    """When it was killed."""
    running: int
    """Tasks that it was running, by its last heartbeat."""
    queued: int
    """Tasks that it held besides, by its last heartbeat."""
    rescued: set[str] = field(default_factory=set)
    """Tasks that were given out again and done by another agent."""
    lost_after: float | None = None
    """Seconds until the fleet announced its loss."""
    done_after: float | None = None
    """Seconds until the last rescued task was done."""
    open: set[int] = field(default_factory=set)
    """What was under way when the loss was announced, and has no result yet. What it held is
    among it, since nobody sends it anything after that."""


class Scene:
    """Counts what happens. Methods return a line to be told, or an empty one."""

    def __init__(self, agents: Iterable[tuple[str, int]], total: int) -> None:
        """``agents`` are names and slots; ``total`` is how many tasks are planned."""
        self.rows = {name: Row(name, slots) for name, slots in agents}
        self.total = total
        self.submitted = 0
        """Tasks that the broker has stored."""
        self.open: set[int] = set()
        """Numbers of the tasks that have been begun and have no result yet."""
        self._number = 0
        self.done = 0
        """Tasks with a result, whatever it says."""
        self.failures: dict[str, str] = {}
        """Tasks that did not complete, and why."""
        self.latencies: list[float] = []
        """Seconds from submit to result."""
        self.begun: float | None = None
        self.ended = 0.0
        self.failover: Failover | None = None

    @property
    def missing(self) -> int:
        """Tasks that were stored and have no result."""
        return self.submitted - self.done

    def rate(self, now: float) -> float:
        """Results a second since the first submit."""
        if self.begun is None or now <= self.begun:
            return 0.0
        return self.done / (now - self.begun)

    def begin(self, now: float) -> int:
        """A task is about to be submitted; returns its number."""
        if self.begun is None:
            self.begun = now
        self._number += 1
        self.open.add(self._number)
        return self._number

    def stored(self) -> None:
        """A task is in the broker's hands."""
        self.submitted += 1

    def settled(self, number: int, result: Result, took: float, now: float) -> str:
        """A task has its result."""
        self.open.discard(number)
        self.done += 1
        self.ended = now
        self.latencies.append(took)
        if result.state != "completed":
            reason = result.error.message if result.error else "no reason given"
            self.failures[result.task] = f"{result.state}: {reason}"
        row = self.rows.get(result.agent)
        if row is not None:
            row.results += 1
        return self._rescued(number, result, now)

    def beat(self, beat: Heartbeat) -> None:
        """An agent reports its load."""
        row = self.rows.get(beat.agent)
        if row is not None and row.state not in ("killed", "lost"):
            row.state, row.running, row.queued = beat.state, beat.running, beat.queued

    def killed(self, beat: Heartbeat, now: float) -> str:
        """The agent whose last heartbeat this is was killed just now."""
        self.failover = Failover(beat.agent, now, beat.running, beat.queued)
        row = self.rows[beat.agent]
        row.state, row.running, row.queued = "killed", 0, 0
        load = f"{beat.running} running, {beat.queued} queued by its last heartbeat"
        return f"{beat.agent} killed (SIGKILL): {load}"

    def lost(self, agent: str, why: str, now: float) -> str:
        """The fleet announced that it lost an agent."""
        failover = self.failover
        if failover is None or failover.agent != agent:
            return f"{agent} lost: {why}"
        if failover.lost_after is not None:
            return ""  # every coordinator says it, and the broker stores it once
        failover.lost_after = now - failover.at
        failover.open = set(self.open)
        self.rows[agent].state = "lost"
        return f"{agent} lost, noticed {duration(failover.lost_after)} after the kill ({why})"

    def _rescued(self, number: int, result: Result, now: float) -> str:
        failover = self.failover
        if failover is None:
            return ""
        # The broker gave it out again: in this fleet only the loss of an agent does that, since
        # none of its handlers asks for another attempt.
        if result.attempt > 1 and result.agent != failover.agent:
            failover.rescued.add(result.task)
            failover.done_after = now - failover.at
        if number in failover.open:
            failover.open.remove(number)
            if not failover.open and failover.done_after is not None:
                after, count = duration(failover.done_after), len(failover.rescued)
                return f"the last of its {count} tasks done elsewhere, {after} after the kill"
        return ""
