"""One real nats-server a session, a fresh fleet a test.

``--nats=container`` runs the suite on a testcontainers NATS, and ``FLEETBUS_TEST_NATS_URL`` on
a server that is already there. Tests that stop the server start one of their own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from agent_runtime import Agent
from bus import Bus, Client, connect
from bus.testing import fleet as own_fleet
from coordinator import Coordinator
from tests.support.servers import container_url, embedded_url


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nats",
        choices=("embedded", "container"),
        default="embedded",
        help="where the suite's server runs",
    )


@pytest.fixture(scope="session")
def nats_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the session's server."""
    given = os.environ.get("FLEETBUS_TEST_NATS_URL")
    if given:
        yield given
    elif request.config.getoption("--nats") == "container":
        yield from container_url()
    else:
        yield from embedded_url()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine that runs the tests may reach them."""
    for name in list(os.environ):
        if name.startswith("FLEETBUS_") and name != "FLEETBUS_TEST_NATS_URL":
            monkeypatch.delenv(name)


@pytest.fixture
async def fleet(nats_url: str) -> AsyncIterator[str]:
    """A fleet of this test's own, with its streams."""
    async with own_fleet(nats_url) as name:
        yield name


@pytest.fixture
async def bus(nats_url: str, fleet: str) -> AsyncIterator[Bus]:
    """A connection to the test's fleet."""
    async with connect(nats_url, fleet) as opened:
        yield opened


@pytest.fixture
async def client(nats_url: str, fleet: str) -> AsyncIterator[Client]:
    """A client of the test's fleet."""
    async with Client.connect(nats_url, fleet, name="test") as opened:
        yield opened


@pytest.fixture
async def coordinator(nats_url: str, fleet: str) -> AsyncIterator[Coordinator]:
    """A coordinator of the test's fleet, in this process."""
    async with Coordinator.connect(nats_url, fleet) as running:
        yield running


Join = Callable[[Agent], Awaitable[Any]]


@pytest.fixture
async def join(nats_url: str, fleet: str) -> AsyncIterator[Join]:
    """``await join(agent)`` runs an agent in this process until the test ends."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:

        async def enter(agent: Agent) -> Any:
            agent.grace = min(agent.grace, 1.0)
            return await stack.enter_async_context(agent.connect(nats_url, fleet))

        yield enter


@pytest.fixture(autouse=True)
def no_stray_threads() -> Iterator[None]:
    """A test that leaves a thread of ours running has a leak."""
    yield
    stray = [t.name for t in threading.enumerate() if t.name.startswith("bus-")]
    assert not stray, f"threads left running: {stray}"
