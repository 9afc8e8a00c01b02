"""The load generator: closed loop (so many outstanding) and open loop (so many a second).

A closed loop asks how much a system can do: when it stalls, the load stalls with it, so its
latencies hide what callers who do not wait for each other would have suffered (coordinated
omission). The open loop draws the times of arrival beforehand and measures each operation from
the time at which it should have begun, whether or not the generator or the system was ready.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

Operation = Callable[[], Awaitable[object]]
"""One operation, from start to end. What it raises is counted as a failure."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load generator saw."""

    seconds: float
    """From the first start to the last end."""
    took: list[float]
    """Seconds of each operation that succeeded."""
    failures: list[Exception] = field(default_factory=list)
    late: float = 0.0
    """Seconds by which the open loop began an operation too late, at worst: the generator's own
    part of the latencies."""

    @property
    def rate(self) -> float:
        """Operations a second that succeeded."""
        return len(self.took) / self.seconds

    def check(self) -> Load:
        """Itself.

        Raises:
            Exception: the first failure, where there is one: its figures would mislead.
        """
        if self.failures:
            self.failures[0].add_note(f"the first of {len(self.failures)} failed operations")
            raise self.failures[0]
        return self


async def closed_loop(operation: Operation, count: int, outstanding: int) -> Load:
    """``count`` operations, ``outstanding`` at any time."""
    took: list[float] = []
    failures: list[Exception] = []
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            begun = time.perf_counter()
            try:
                await operation()
            except Exception as error:
                failures.append(error)
            else:
                took.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(outstanding, count)):
            group.create_task(worker())
    return Load(time.perf_counter() - begun, took, failures)


async def open_loop(operation: Operation, arrivals: Iterator[float]) -> Load:
    """One operation at each of ``arrivals``, seconds from now in ascending order.

    It never waits for an operation before it begins the next, so a system that cannot keep up
    shows it as latency that grows.
    """
    took: list[float] = []
    failures: list[Exception] = []
    late = 0.0

    async def one(intended: float) -> None:
        try:
            await operation()
        except Exception as error:
            failures.append(error)
        else:
            took.append(time.perf_counter() - intended)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for arrival in arrivals:
            intended = begun + arrival
            wait = intended - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            late = max(late, time.perf_counter() - intended)
            group.create_task(one(intended))
    return Load(time.perf_counter() - begun, took, failures, late)


def poisson(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Arrivals of callers who know nothing of each other: ``rate`` a second on average."""
    draw = random.Random(seed)
    now = draw.expovariate(rate)
    while now < seconds:
        yield now
        now += draw.expovariate(rate)


def steady(rate: float, seconds: float) -> Iterator[float]:
    """Arrivals at equal distances."""
    for number in range(int(rate * seconds)):
        yield number / rate
