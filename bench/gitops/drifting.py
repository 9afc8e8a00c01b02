"""A fleet of which some agents drift, and the question who does."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.harness.errors import BenchError
from bench.harness.servers import FLEET
from bench.sides import product
from bench.simulated import crew
from bench.simulated.stage import Agents
from bus import connect
from bus.client import drift
from bus.leash import leashed

SLICE: Final = 20
"""One in so many agents stays behind, and another rejects what comes."""
BEHIND, REJECTED = 3, 11
"""What their numbers leave when divided by ``SLICE``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking a fleet several times took, in the middle. Seconds."""

    took: float
    processor: float
    """Time of ours, those of the server and the agents apart."""
    wrong: int
    """Verdicts of all those times that are not what they should be, or are told twice."""


async def spoil(agents: Agents) -> int:
    """Let some agents take no change from now on; how many still do."""
    await agents.stance("deaf", SLICE, BEHIND)
    await agents.stance("rejects", SLICE, REJECTED)
    return sum(1 for number in range(agents.count) if _verdict(number, True) == "in-sync")


def _verdict(number: int, spoiled: bool) -> str:
    found = {BEHIND: "behind", REJECTED: "rejected"} if spoiled else {}
    return found.get(number % SLICE, "in-sync")


async def ask(url: str, size: int, spoiled: bool, times: int) -> Asked:
    """Ask so many times with ``bus.client.drift``.

    Raises:
        BusError, TimeoutError: the bus cannot be read.
    """
    expected = {crew.name(number): _verdict(number, spoiled) for number in range(size)}
    took, processor = [], []
    wrong = 0
    async with connect(url, FLEET) as bus:
        for _ in range(times):
            used, begun = time.process_time(), time.monotonic()
            found = await drift.survey(bus)
            took.append(time.monotonic() - begun)
            processor.append(time.process_time() - used)
            said = {one.agent: one.verdict for one in found.standings}
            names = {*said, *expected}
            wrong += sum(1 for name in names if said.get(name) != expected.get(name))
            wrong += len(found.standings) - len(said)
    return Asked(statistics.median(took), statistics.median(processor), wrong)


async def command(url: str, size: int, spoiled: bool) -> float:
    """Seconds that ``fleetbus config drift --json`` takes, Python's start included.

    Raises:
        BenchError: it does not tell of all agents, or ends with another status.
    """
    status = 1 if spoiled else 0
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *leashed([sys.executable, *product.drift(url)]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **product.BYTECODE},
    )
    text, problem = await process.communicate()
    took = time.monotonic() - begun
    try:
        told = len(msgspec.json.decode(text)["agents"])
    except msgspec.DecodeError:
        told = 0
    if (process.returncode, told) != (status, size):
        raise BenchError(
            f"'fleetbus config drift' told of {told} of {size} agents in {len(text)} bytes and "
            f"ended with {process.returncode}, not {status}: {problem.decode()[-1000:]}"
        )
    return took
