"""A server and a fleet of its own for a scenario."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bus.server import NatsServer
from bus.server_config import ServerConfig
from bus.testing import fleet
from bus.topology import TopologySettings

FLEET: Final = "bench"


@asynccontextmanager
async def server(
    *, sync_always: bool = False, settings: TopologySettings | None = None
) -> AsyncIterator[NatsServer]:
    """A server on a free port with the fleet ``bench``; its store goes when it goes.

    Raises:
        ServerError: it does not start.
    """
    config = ServerConfig(sync_always=sync_always)
    async with NatsServer(config=config) as made, fleet(made.url, FLEET, settings):
        yield made
