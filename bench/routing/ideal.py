"""The ideal: one queue for the whole fleet, seen by all agents at once, at no cost.

A discrete-event simulation, so its figures have no noise. Whenever a slot is free and its agent
is awake, it takes the head of the queue; the fastest free agent goes first. No system can tell
that without a message, or knows of a stall the moment it begins: nobody reaches this, but it
is as good as one can do without knowing how long tasks are, short of leaving slow agents idle
on purpose.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from bench.routing.mix import Job
from bench.routing.mixed_fleet import KINDS, SLOTS, Stalls

_ARRIVED, _ENDED, _AWOKE = range(3)


@dataclass(frozen=True)
class Server:
    """One agent of the simulation."""

    slots: int
    slowness: float = 1.0
    stalls: Stalls = ()

    def awake(self, now: float) -> float:
        """``now``, or the end of the stall that ``now`` falls into."""
        for begin, end in self.stalls:
            if begin <= now < end:
                return end
        return now


@dataclass(frozen=True)
class Outcome:
    """What became of the tasks."""

    took: list[float]
    """Seconds from submission to end, in the order of the jobs."""
    makespan: float
    """Seconds from the begin of the run to the last end."""
    share: list[float]
    """What part of the tasks each server got."""


def servers(stalls: Stalls) -> list[Server]:
    """The mixed fleet."""
    return [
        Server(SLOTS, kind.slowness, stalls if kind.stalls else ())
        for kind in KINDS
        for _ in range(kind.agents)
    ]


def simulate(jobs: Sequence[Job], fleet: Sequence[Server]) -> Outcome:
    """Run ``jobs``, which come in the order of their arrival, through the ideal queue."""
    free = [server.slots for server in fleet]
    queue: deque[int] = deque()
    took = [0.0] * len(jobs)
    got = [0] * len(fleet)
    last = 0.0
    # Ends come before arrivals of the same moment: a slot that is just free can be used.
    events: list[tuple[float, int, int]] = [
        (end, -_AWOKE, 0) for server in fleet for _, end in server.stalls
    ]
    events += [(job.at, -_ARRIVED, number) for number, job in enumerate(jobs)]
    heapq.heapify(events)
    while events:
        now, kind, which = heapq.heappop(events)
        if kind == -_ARRIVED:
            queue.append(which)
        elif kind == -_ENDED:
            free[which] += 1
        while queue:
            able = [n for n, server in enumerate(fleet) if free[n] and server.awake(now) == now]
            if not able:
                break
            chosen = min(able, key=lambda n: (fleet[n].slowness, -free[n] / fleet[n].slots))
            number = queue.popleft()
            free[chosen] -= 1
            got[chosen] += 1
            server, job = fleet[chosen], jobs[number]
            end = server.awake(now + job.length * server.slowness)
            took[number] = end - job.at
            last = max(last, end)
            heapq.heappush(events, (end, -_ENDED, chosen))
    count = max(1, len(jobs))
    return Outcome(took, last, [number / count for number in got])
