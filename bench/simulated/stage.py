"""A simulated fleet and a coordinator as child processes, and what to ask them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import msgspec

from bench.harness.errors import BenchError
from bench.harness.processes import Child, spawn
from bench.harness.servers import FLEET
from bench.simulated.configured import Stance
from bench.simulated.report import Decisions, Report, Seen
from bus import codec

CROWD: Final = 50_000
"""Agents a process: with more, one process is the limit of what they can do together."""

LOOK: Final = 0.1
"""Seconds between looks at how far the agents are."""

T = TypeVar("T")


async def _ask(child: Child, line: str, kind: type[T], timeout: float = 60.0) -> T:
    await child.tell(line)
    return codec.decode(kind, (await child.line(timeout)).encode(), "answer of a child")


class Agents:
    """All simulated agents of a fleet."""

    def __init__(self, count: int, children: list[Child]) -> None:
        self.count = count
        self.children = children

    async def join(self) -> Report:
        """Begin to join."""
        return await self._all("join")

    async def settle(self, within: float) -> None:
        """Go on as after a long life, and wait until they have begun to."""
        await self._all(f"settle {within}")
        await asyncio.sleep(within)

    async def stance(self, stance: Stance, every: int, rest: int) -> None:
        """Have one in ``every``, those whose number leaves ``rest``, take changes so."""
        await self._all(f"stance {stance} {every} {rest}")

    async def report(self) -> Report:
        """How they stand."""
        return await self._all("report")

    async def registered(self, since: float, timeout: float) -> Report:
        """Wait until all are, after their connections broke or they began to join ``since``.

        Raises:
            BenchError: some are not after ``timeout`` seconds.
        """
        until = time.monotonic() + timeout
        late = 0.0
        while True:
            report = await self.report()
            late = max(late, report.late)
            if report.first_at >= since and report.all_at:
                return msgspec.structs.replace(report, late=late)
            if time.monotonic() > until:
                raise BenchError(
                    f"{report.registered} of {self.count} simulated agents are registered after "
                    f"{timeout:g} s"
                )
            await asyncio.sleep(LOOK)

    def cpu(self) -> float:
        """Seconds of processor time that their processes have used."""
        return sum(child.cpu() for child in self.children)

    async def _all(self, line: str) -> Report:
        return Report.sum([await _ask(child, line, Report) for child in self.children])


class Observed:
    """An ordinary coordinator that answers questions about itself."""

    def __init__(self, child: Child) -> None:
        self.child = child

    async def until(self, agents: int, timeout: float) -> float:
        """Wait until it sees so many agents; the time on the monotonic clock."""
        return await _ask(self.child, f"until {agents}", float, timeout)

    async def mark(self) -> Seen:
        """Count from now on from whom it hears."""
        return await _ask(self.child, "mark", Seen)

    async def report(self) -> Seen:
        """What it sees."""
        return await _ask(self.child, "report", Seen)

    async def decide(self, count: int) -> Decisions:
        """Have it choose agents and send nothing."""
        return await _ask(self.child, f"decide {count}", Decisions)


@asynccontextmanager
async def agents(url: str, count: int) -> AsyncIterator[Agents]:
    """Processes with ``count`` simulated agents that are connected and have not joined.

    Raises:
        ChildFailed: one of them did not start.
    """
    children: list[Child] = []
    parts = -(-count // CROWD)
    try:
        for part in range(parts):
            first, last = count * part // parts, count * (part + 1) // parts
            role = ("-m", "bench.simulated.process", url, FLEET, str(first), str(last - first))
            children.append(await spawn(*role, stdin=True))
        yield Agents(count, children)
    finally:
        await asyncio.gather(*(child.stop() for child in children))


@asynccontextmanager
async def coordinator(url: str) -> AsyncIterator[Observed]:
    """A coordinator in a process of its own, which sees the registry as it is now.

    Raises:
        ChildFailed: it did not start.
    """
    child = await spawn("-m", "bench.simulated.observed", url, FLEET, stdin=True)
    try:
        yield Observed(child)
    finally:
        await child.stop()
