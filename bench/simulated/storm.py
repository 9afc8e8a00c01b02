"""The server restarts under a fleet: who comes back when, and who is thought lost."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bench.harness.errors import BenchError
from bench.harness.figures import Params, at_most
from bench.harness.processes import cpu
from bench.harness.session import Session
from bench.simulated.stage import Agents, Observed
from bench.simulated.traffic import WINDOW, watched
from bus.server import NatsServer
from bus.testing import eventually

PATIENCE: Final = 120.0
"""Seconds in which all must be back."""

AFTERWARDS: Final = 2.0
"""Seconds after that in which somebody may still be called lost."""

LOOK: Final = 0.2

LATE: Final = 0.25
"""Seconds by which simulated agents may be late before the figures are theirs."""


async def storm(
    session: Session, params: Params, made: NatsServer, seeing: Observed, agents: Agents
) -> None:
    """Restart the server and record what follows.

    Raises:
        BenchError: some agents did not come back, or were not heard.
    """
    before = await agents.report()
    lost = (await seeing.mark()).lost
    begun = time.monotonic()
    await made.restart()
    up = time.monotonic()
    # The server is a new process, and its account begins here.
    used = {"coordinator": seeing.child.cpu(), "simulated agents": agents.cpu()}
    async with watched(made) as traffic:
        report = await agents.registered(begun, PATIENCE)
        heard = await _heard(seeing, agents.count)
        spent = {
            "coordinator": seeing.child.cpu() - used["coordinator"],
            "nats-server": cpu(made.pid or 0),
            "simulated agents": agents.cpu() - used["simulated agents"],
        }
        await asyncio.sleep(session.plan.seconds(AFTERWARDS, WINDOW + 0.5))
        peak = traffic.peak
    after = await agents.report()
    seen = await seeing.report()

    def record(metric: str, value: float, unit: str) -> None:
        session.record(f"restart: {metric}", value, unit, better="lower", params=params)

    record("server away", up - begun, "s")
    record("all registered after", report.all_at - up, "s")
    record("all heard after", heard - up, "s")
    record("peak", peak, "messages/s")
    late = max(report.late, after.late)
    record("an agent's clock late by", late, "s")
    if late > LATE:
        session.note(
            f"after a restart under {agents.count:,} agents the processes that simulate them could "
            "not keep up: what real agents do at the same time came one after the other, and "
            "the times until all are back are those of the machine"
        )
    for side, seconds in spent.items():
        session.record(
            "restart: processor time until all are back", seconds, "s", side=side, params=params
        )
    wrongly = seen.lost - lost + after.called_dead - before.called_dead
    session.record(
        "restart: lost wrongly", wrongly, "", better="lower", params=params, target=at_most(0)
    )


async def _heard(seeing: Observed, count: int) -> float:
    """When the coordinator has heard of everybody again. Some report before it is back itself,
    and are heard with their next heartbeat."""

    async def all_heard() -> bool:
        return (await seeing.report()).heard >= count

    try:
        await eventually(all_heard, PATIENCE, LOOK)
    except AssertionError as error:
        raise BenchError(f"not all agents were heard {PATIENCE:g} s after a restart") from error
    return time.monotonic()
