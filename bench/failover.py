"""SIGKILL of an agent that holds 50 half-second tasks."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from bench import ours
from bench.processes import running, spawn
from bench.report import Row
from bus import Client
from bus.testing import eventually

TASKS = 50


async def run(url: str, disconnects: bool, rounds: int) -> list[Row]:
    """``disconnects`` says whether the server exports its disconnect events."""
    bound = 0.5 if disconnects else 4.0
    slowest: list[float] = []
    lost = 0
    async with running(("-m", "bench.ours", "coordinator", url)):
        for number in range(rounds):
            took, missing = await _round(url, number)
            slowest.append(took)
            lost += missing
    how = "with" if disconnects else "without"
    name = f"{how} the disconnect import, kill to last restart"
    met = max(slowest) <= bound and not lost
    return [
        Row("failover", name, tuple(slowest), "s", f"≤ {bound:g}", met),
        Row("failover", f"{how} the disconnect import, lost", (lost,), "", "0", lost == 0),
    ]


async def _round(url: str, number: int) -> tuple[float, int]:
    """Seconds from the kill to the last restart, and tasks without a result."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "runs")
        log.touch()
        victim_name, heir_name = f"victim{number}", f"heir{number}"
        async with Client.connect(url, ours.FLEET) as client:
            victim = await spawn("-m", "bench.ours", "agent", url, victim_name, str(TASKS))
            handles = await client.submit_many("nap", [{"log": str(log)}] * TASKS)
            await eventually(lambda: log.read_text().count(victim_name) == TASKS, 20)
            heir = await spawn("-m", "bench.ours", "agent", url, heir_name, str(TASKS))
            try:
                killed = time.time()
                finished = sum(1 for handle in handles if handle.finished.done())
                await victim.kill()
                results = await asyncio.gather(
                    *(handle.outcome(timeout=30) for handle in handles), return_exceptions=True
                )
                missing = sum(1 for one in results if isinstance(one, BaseException))
                restarts = [
                    float(line.split()[0])
                    for line in log.read_text().splitlines()
                    if line.endswith(heir_name)
                ]
                if len(restarts) + finished < TASKS - missing:
                    raise RuntimeError("the victim had finished tasks when it was killed")
                return max(restarts) - killed, missing
            finally:
                await heir.stop()
