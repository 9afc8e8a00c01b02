"""The closed loop that every driver runs, so that all peers and we are timed alike.

So many tasks are outstanding at any time, until a count or a time is reached. Each is timed from
before it is submitted until its result is in the client's hands, the whole from the first to the
last. Peers whose client is asynchronous run :func:`closed_loop`; where results are called back,
the driver keeps a :class:`Tally` itself.

Only the standard library: this runs in every peer's environment, and in ours.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

CHUNK = 1000
"""Times a line: a line must stay far below what its reader buffers (64 KiB)."""
NAP = "nap "
"""How the data of a task begin that takes its time."""

Operation = Callable[[str], Awaitable[object]]
"""Submits a task with these data and waits for its result."""


@dataclass(frozen=True)
class Order:
    """What to submit."""

    outstanding: int
    payload: int = 128
    """Bytes that a task carries, and answers."""
    count: int = 1_000_000
    """No more tasks than this."""
    seconds: float = 3600.0
    """No task is begun later than this."""
    within: float = 0.0
    """Seconds after which those whose result is missing are given up; 0: never."""
    nap: float = 0.0
    """Seconds that a task takes. It notes its process in ``log`` when it is begun."""
    log: str = ""

    @property
    def data(self) -> str:
        """What each task carries, and is to answer."""
        return f"{NAP}{self.nap} {self.log}" if self.nap else "x" * self.payload


def nap_of(data: str) -> tuple[float, str]:
    """The seconds and the log of a task that takes its time; 0 seconds of any other."""
    if not data.startswith(NAP):
        return 0.0, ""
    seconds, log = data.removeprefix(NAP).split(" ", 1)
    return float(seconds), log


@dataclass
class Tally:
    """What has begun, and how long that took which has ended."""

    order: Order
    took: list[int] = field(default_factory=list)
    """Microseconds."""
    failures: list[str] = field(default_factory=list)
    begun: int = 0
    start: float = field(default_factory=time.perf_counter)

    def begin(self) -> bool:
        """True if one more may begin; it counts as begun."""
        if self.begun >= self.order.count:
            return False
        if self.begun and time.perf_counter() - self.start >= self.order.seconds:
            return False
        self.begun += 1
        return True

    def end(self, began: float, answer: object) -> None:
        """One has ended that began at ``began``."""
        if answer == self.order.data:
            self.took.append(round((time.perf_counter() - began) * 1e6))
        else:
            self.failures.append(f"a task answered {answer!r:.80}")

    @property
    def pending(self) -> int:
        """How many have begun and not ended."""
        return self.begun - len(self.took) - len(self.failures)

    @property
    def overdue(self) -> bool:
        """True if what is pending is to be given up."""
        return 0 < self.order.within <= time.perf_counter() - self.start

    def lines(self) -> list[str]:
        """The answer to the order, in JSON: ``{"took": […]}`` as often as need be, and then one
        with ``seconds``, ``pending`` and ``failures``."""
        seconds = time.perf_counter() - self.start
        parts = range(0, len(self.took), CHUNK)
        return [
            *(json.dumps({"took": self.took[first : first + CHUNK]}) for first in parts),
            json.dumps(
                {"seconds": seconds, "pending": self.pending, "failures": self.failures[:3]}
            ),
        ]


async def closed_loop(operation: Operation, order: Order) -> Tally:
    """One coroutine for each task that is to be outstanding."""
    tally = Tally(order)
    data = order.data

    async def worker() -> None:
        while tally.begin():
            began = time.perf_counter()
            try:
                answer = await operation(data)
            except Exception as error:
                tally.failures.append(repr(error))
            else:
                tally.end(began, answer)

    workers = [asyncio.create_task(worker()) for _ in range(order.outstanding)]
    done, late = await asyncio.wait(workers, timeout=order.within or None)
    for one in late:
        one.cancel()
    for one in done:
        one.result()
    return tally
