"""From a commit until all agents say that they have what it makes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.gitops.listener import Listener
from bench.gitops.repository import Commits
from bench.harness.errors import BenchError
from bench.harness.servers import FLEET
from bench.simulated import crew
from bus import connect
from bus.client import config
from bus.testing import eventually
from fleetbus.gitops.repository import Repository
from fleetbus.gitops.sync import Sync
from fleetbus.gitops.watch import watch

PATIENCE: Final = 30.0
"""Seconds in which all agents must have said that they have a commit."""

LOOK: Final = 0.05


@dataclass(slots=True)
class Spread:
    """How several commits spread. Seconds."""

    reported: list[float] = field(default_factory=list)
    """From each commit until each agent has said that it has it."""
    after_write: list[float] = field(default_factory=list)
    """The same from the moment at which the head was heard on the bus."""
    written: list[float] = field(default_factory=list)
    """From each commit until that moment."""
    missing: int = 0
    """How many did not say so, of all agents and commits. Each counts as late as can be."""


@asynccontextmanager
async def syncing(url: str, folder: Path, interval: float) -> AsyncIterator[None]:
    """Reconciles, as ``fleetbus config sync --watch`` does.

    Raises:
        BenchError: a commit was not applied.
    """
    troubles: list[Exception] = []

    async def follow(sync: Sync) -> None:
        async for news in watch(sync, interval):
            if isinstance(news, Exception):
                troubles.append(news)

    async with connect(url, FLEET) as bus:
        with Repository.open(folder) as repository:
            task = asyncio.create_task(follow(Sync(bus, repository)))
            try:
                yield
                if task.done():
                    await task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    if troubles:
        raise BenchError(f"a commit was not applied: {troubles[0]}") from troubles[0]


async def everywhere(listener: Listener, commit: str, count: int) -> None:
    """Wait until so many agents say that they have ``commit``, but not for ever."""
    try:
        await eventually(lambda: listener.at(commit) >= count, PATIENCE, LOOK)
    except AssertionError:
        return  # whoever wants to know how many do will count them


async def commit_and_wait(commits: Commits, listener: Listener, size: int, spread: Spread) -> None:
    """Commit, and add to ``spread`` when agents say that they have what it makes of them.

    Raises:
        BenchError: it makes nothing else of some of them.
    """
    before = await _wanted(listener, size)
    listener.first.clear()
    begun = time.monotonic()
    commit = commits.commit()
    await everywhere(listener, commit, size)
    wanted = await _wanted(listener, size)
    came = [at for agent in wanted.items() if (at := listener.first.get(agent)) is not None]
    if not came:
        raise BenchError(f"no agent reported a commit within {PATIENCE:g} s")
    if any(wanted[agent] == has for agent, has in before.items()):
        raise BenchError("a commit changed nothing for some agents")
    missing = size - len(came)
    spread.reported += [at - begun for at in came] + [PATIENCE] * missing
    spread.after_write += [at - listener.head_at for at in came] + [PATIENCE] * missing
    spread.written.append(listener.head_at - begun)
    spread.missing += missing


async def _wanted(listener: Listener, size: int) -> dict[str, str]:
    """The hash that each agent should have by now."""
    layers = (await config.current(listener.bus)).layers
    made = {}
    for number in range(size):
        card = crew.card(number)
        names = tuple(crew.versions(number))
        made[card.agent] = layers.of(card.agent, card.site, card.labels, names).hash
    return made
