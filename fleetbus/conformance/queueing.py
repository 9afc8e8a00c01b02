"""Bringing an agent to queue a task: it decides itself how many it holds beyond its slots."""

from __future__ import annotations

from typing import Final

from fleetbus.conformance.check import Skipped
from fleetbus.conformance.given import Given
from fleetbus.conformance.stage import Stage

QUICK: Final = 30
"""Quick calls, after which an agent that takes more than it runs knows that it should."""


async def queued_behind(stage: Stage, seconds: float) -> tuple[list[Given], Given]:
    """Tasks that sleep for ``seconds`` in all slots, and one more that waits behind them.

    Raises:
        Skipped: the agent takes no more tasks than it runs.
    """
    for _ in range(QUICK):
        await stage.coordinator.call("echo", {"value": 1}).finished("completed")
    beat = await stage.beat("an idle agent", lambda b: not b.running and not b.queued)
    if beat.window <= beat.slots:
        raise Skipped(f"it takes no more tasks than it runs: its window is {beat.window}")
    running = [
        await stage.coordinator.give("sleep", {"seconds": seconds}) for _ in range(beat.slots)
    ]
    waiting = await stage.coordinator.give("sleep", {"seconds": 0.05})
    await stage.beat("a task in the queue", lambda b: b.running == b.slots and b.queued == 1)
    return running, waiting
