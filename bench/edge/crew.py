"""The processes of a simulation, and what to ask them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.edge.plan import Plan
from bench.edge.tally import Ended, Report, Tally
from bench.harness.processes import Child, spawn

CROWD: Final = 500
"""Devices a process."""


class Crew:
    """All processes."""

    def __init__(self, children: list[Child]) -> None:
        self.children = children
        self.late = 0.0
        """Seconds by which a timer of theirs was late at worst."""

    async def boot(self, seconds: float) -> None:
        """Begin to start all devices, spread over so long."""
        await self._all(f"boot {seconds}")

    async def calm(self) -> None:
        """End the accidents."""
        await self._all("calm")

    async def hush(self) -> None:
        """Have no more readings taken."""
        await self._all("hush")

    async def report(self) -> Report:
        """How they stand."""
        return await self._all("report")

    async def stop(self) -> list[Ended]:
        """Stop all devices in order."""
        return list(await asyncio.gather(*(self._ended(child) for child in self.children)))

    async def _all(self, line: str) -> Report:
        found = await asyncio.gather(*(self._ask(child, line) for child in self.children))
        made = together(list(found))
        self.late = max(self.late, made.late)
        return made

    async def _ask(self, child: Child, line: str) -> Report:
        await child.tell(line)
        return msgspec.json.decode(await child.line(60), type=Report)

    async def _ended(self, child: Child) -> Ended:
        await child.tell("stop")
        return msgspec.json.decode(await child.line(120), type=Ended)


def together(reports: list[Report]) -> Report:
    """The sum of what processes say. Pure."""
    made = Report(Tally())
    for one in reports:
        made.tally.add(one.tally)
        made.rss += one.rss
        made.bare += one.bare
        made.late = max(made.late, one.late)
        for problem, times in one.problems.items():
            made.problems[problem] = made.problems.get(problem, 0) + times
    return made


@asynccontextmanager
async def crew(url: str, fleet: str, plan: Plan, folder: Path) -> AsyncIterator[Crew]:
    """Processes with devices that have not been started.

    Raises:
        ChildFailed: one did not start.
    """
    children: list[Child] = []
    parts = -(-plan.devices // CROWD)
    said = msgspec.json.encode(plan).decode()
    try:
        for part in range(parts):
            first, last = plan.devices * part // parts, plan.devices * (part + 1) // parts
            role = ("-m", "bench.edge.process", url, fleet, str(first), str(last - first))
            children.append(await spawn(*role, str(folder), said, stdin=True))
        yield Crew(children)
    finally:
        await asyncio.gather(*(child.stop() for child in children))
