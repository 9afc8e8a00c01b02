"""Faults: each test has a fleet of its own, and most a server of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bus.server import NatsServer
from tests.support.processes import Workers
from tests.support.runs import Runs
from tests.support.stage import Stage, staged

ACK_WAIT = "2"
"""Seconds, where a test waits for the backstop that needs nobody. The default is 10."""


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    """A server of this test's own, with the disconnect import."""
    async with NatsServer() as running:
        yield running


Staff = Callable[..., Workers]


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Staff]:
    """``staff(url, fleet, **environment)`` gives the processes of a test."""
    async with AsyncExitStack() as stack:

        def make(url: str, fleet: str, **settings: str) -> Workers:
            workers = Workers(tmp_path, url, fleet, **settings)
            stack.push_async_exit(workers)
            return workers

        yield make


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """What the processes of this test have run."""
    return Runs(tmp_path / "runs")


@pytest.fixture
async def stage(nats_url: str) -> AsyncIterator[Stage]:
    """One of each in this process."""
    async with staged(nats_url) as ready:
        yield ready
