"""Agents come and go all the time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from bus import Client
from bus.server import NatsServer
from bus.testing import fleet as own_fleet
from tests.chaos.conftest import Staff
from tests.support.runs import Runs
from tests.support.waiting import outcomes

pytestmark = pytest.mark.fault

TASKS = 10_000
SLOTS = 4
KILL_EVERY = 2.0
"""Seconds."""


async def test_ten_thousand_tasks_while_agents_are_killed(
    server: NatsServer, staff: Staff, runs: Runs
) -> None:
    async with own_fleet(server.url) as fleet, Client.connect(server.url, fleet) as client:
        workers = staff(server.url, fleet)
        await asyncio.gather(workers.coordinator("c1"), workers.coordinator("c2"))
        names = [f"a{i}" for i in range(5)]
        crew = dict(zip(names, await workers.agents(*names, slots=SLOTS), strict=True))
        kills = 0

        async def churn() -> None:
            nonlocal kills
            while True:
                await asyncio.sleep(KILL_EVERY)
                name = names[kills % len(names)]
                await crew[name].kill()
                kills += 1
                crew[name] = await workers.agent(name, slots=SLOTS)

        churning = asyncio.create_task(churn())
        begun = time.monotonic()
        try:
            values = [{"key": f"{i}", "seconds": 0.02} for i in range(TASKS)]
            handles = await client.submit_many("nap", values)
            results = await outcomes(handles, 60)
        finally:
            churning.cancel()
            await asyncio.gather(churning, return_exceptions=True)
        took = time.monotonic() - begun
        assert Counter(r.state for r in results) == {"completed": TASKS}
        assert len({r.task for r in results}) == TASKS
        assert kills >= 3
        again = sum(times - 1 for times in runs.times().values())
        print(f"\n{took:.1f} s, {kills} kills, {again} tasks ran again")
        # Each kill can cost the runs that the agent was at, and the results on their way.
        assert again <= kills * SLOTS * 2
