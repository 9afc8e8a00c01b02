"""An ordinary coordinator that tells of itself: ``python -m bench.simulated.observed URL FLEET``.

It obeys lines on its standard input and answers with one line of JSON each:

``until N``   answers when it sees N agents: the time on the monotonic clock
``mark``      remember the last heartbeat of each agent; answers a ``Seen``
``report``    a ``Seen``
``decide N``  choose an agent N times in each of several ways: ``Decisions``
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import uvloop

from bench.harness.errors import BenchError
from bench.simulated.report import Decisions, Seen, Took
from bus.testing import eventually
from coordinator import Coordinator
from coordinator.work import Work

LOOK: Final = 0.005
"""Seconds between looks whether all agents are there."""

TOO_LONG: Final = 600.0
"""Seconds after which nobody waits for the fleet any more."""

SLICE: Final = 100
"""Decisions in one go; between two the coordinator does its other work."""

KNOWN: Final = 10
"""Sessions that are used before decisions by session are timed."""

SELECT: Final = "env=prod,zone in (z0,z1)"
NEVER_SEEN: Final = "env=prod,zone=z3"


class Observer:
    """Looks into a coordinator from within its own process."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._marks: dict[str, int] = {}

    async def until(self, count: int) -> float:
        """Wait for so many agents; the time on the monotonic clock."""
        view = self._coordinator.view
        await eventually(lambda: len(view) >= count, timeout=TOO_LONG, every=LOOK)
        return time.monotonic()

    def mark(self) -> Seen:
        """Count heartbeats from now on."""
        self._marks = {entry.id: entry.seq for entry in self._coordinator.view}
        return self.report()

    def report(self) -> Seen:
        """How it stands."""
        entries = list(self._coordinator.view)
        marks = self._marks
        return Seen(
            agents=len(entries),
            heard=sum(1 for entry in entries if entry.seq > marks.get(entry.id, 0)),
            suspect=sum(1 for entry in entries if entry.standing == "suspect"),
            lost=self._coordinator.monitor.lost,
            room=sum(entry.room for entry in entries),
            dropped=self._coordinator.bus.dropped,
        )

    async def decide(self, count: int) -> Decisions:
        """Have the dispatcher choose, as it does for each task, and send nothing."""
        new_selector = (await self._times(1, lambda _: _work(select=NEVER_SEEN)))[0]
        # What only the first of each kind pays is no part of the others.
        await self._times(1, lambda _: _work(select=SELECT))
        await self._times(KNOWN, lambda number: _work(session=f"known-{number}"))
        return Decisions(
            nothing=Took.of(await self._times(count, lambda _: _work())),
            selector=Took.of(await self._times(count, lambda _: _work(select=SELECT))),
            new_selector=new_selector,
            session=Took.of(
                await self._times(count, lambda n: _work(session=f"known-{n % KNOWN}"))
            ),
            new_session=Took.of(await self._times(count, lambda n: _work(session=f"new-{n}"))),
        )

    async def _times(self, count: int, make: Callable[[int], Work]) -> list[float]:
        """Microseconds of ``count`` decisions, of processor time: what others do to the machine
        meanwhile is no part of a decision."""
        view, choose = self._coordinator.view, self._coordinator.dispatcher._choose
        took: list[float] = []
        for number in range(count):
            work = make(number)
            begun = time.thread_time_ns()
            work.pool = view.pool(work.capability, work.select)
            chosen = choose(work)
            took.append((time.thread_time_ns() - begun) / 1000)
            if chosen is None:
                raise BenchError("there is no agent with room to choose")
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        return took


def _work(select: str = "", session: str = "") -> Work:
    work = Work("echo", 0, "bench.1", b"", b"", ack="$JS.ACK.none")
    work.select, work.session = select, session
    return work


async def main(url: str, fleet: str) -> None:
    """Obey until the standard input ends."""
    reader = asyncio.StreamReader()
    async with Coordinator.connect(url, fleet) as coordinator:
        observer = Observer(coordinator)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        print("ready", flush=True)
        while line := (await reader.readline()).decode().strip():
            verb, _, argument = line.partition(" ")
            answer: Any
            match verb:
                case "until":
                    answer = await observer.until(int(argument))
                case "mark":
                    answer = observer.mark()
                case "decide":
                    answer = await observer.decide(int(argument))
                case _:
                    answer = observer.report()
            print(msgspec.json.encode(answer).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
