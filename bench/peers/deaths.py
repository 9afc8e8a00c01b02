"""What becomes of the tasks of a worker that is killed."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness.errors import BenchError
from bench.peers.environment import PLACE
from bench.peers.peer import Peer
from bench.peers.processes import Mortal, kill
from bench.peers.side import Side, running

TASKS: Final = 8
NAP: Final = 0.25
"""Seconds that each task takes."""
BEGIN_TIMEOUT: Final = 20.0
"""Seconds until both workers must have begun a task."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What was seen."""

    lost: int
    """Tasks without a result when the time was up, or with an error instead."""
    seconds: float
    """From the kill to the last result; meaningless where tasks were lost."""


async def kill_one(
    peer: Peer, within: float, place: Path = PLACE, gate: asyncio.Semaphore | None = None
) -> Fate:
    """Start two workers, submit :data:`TASKS`, kill the first with its share in hand.

    Args:
        within: seconds that results may take.
        gate: held while processes start, for those who try many peers at once.

    Raises:
        Missing, BenchError: as for ``running``; or a worker never began.
    """
    async with AsyncExitStack() as stack:
        async with gate or nullcontext():
            side = await stack.enter_async_context(running(peer, place, Mortal()))
        log = side.log.with_name("begun")
        log.touch()
        loads = asyncio.create_task(_naps(side, log, within))
        try:
            await _both_busy(peer, log)
            await kill(side.workers[0])
            killed = time.perf_counter()
            back = await loads
        finally:
            loads.cancel()
        return Fate(TASKS - back, time.perf_counter() - killed)


async def _naps(side: Side, log: Path, within: float) -> int:
    load, _ = await side.order(outstanding=TASKS, count=TASKS, nap=NAP, log=str(log), within=within)
    return len(load.took)


async def _both_busy(peer: Peer, log: Path) -> None:
    """Each line of the log ends with who began a task."""
    until = time.monotonic() + BEGIN_TIMEOUT
    while len({line.split()[-1] for line in log.read_text().splitlines()}) < 2:
        if time.monotonic() >= until:
            raise BenchError(
                f"{peer.name}: after {BEGIN_TIMEOUT:g} s not both workers had begun a task"
            )
        await asyncio.sleep(0.01)
