"""Simulated agents of the benchmarks in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bench.simulated.process import SimulatedFleet
from bus.testing import eventually


@asynccontextmanager
async def running(url: str, fleet: str, count: int) -> AsyncIterator[SimulatedFleet]:
    """Simulated agents in this process, all registered."""
    simulated = SimulatedFleet(url, fleet, 0, count)
    await simulated.connect()
    try:
        simulated.join()
        await eventually(all_back(simulated))
        yield simulated
    finally:
        await simulated.stop()


def all_back(simulated: SimulatedFleet, after: float = 0.0) -> Callable[[], bool]:
    def check() -> bool:
        report = simulated.report()
        return report.registered == report.agents and report.all_at > after

    return check
