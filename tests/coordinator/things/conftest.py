"""One server with an MQTT listener a session, a fresh fleet a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bench.sites.server import free_ports
from bus.server import NatsServer
from bus.server_config import ServerConfig
from tests.support.mqtt import Device

(MQTT_PORT,) = free_ports(1)


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """Stands in for the suite's server, which has no MQTT listener."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="things-nats", daemon=True)
    thread.start()
    server = NatsServer(config=ServerConfig(mqtt_port=MQTT_PORT))
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(60)
    try:
        yield server.url
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


Make = Callable[..., Any]


@pytest.fixture
async def device(fleet: str) -> AsyncIterator[Make]:
    """``await device("relay-1", handle=echo)`` connects a device until the test ends."""
    async with AsyncExitStack() as stack:

        async def make(thing: str, **options: Any) -> Device:
            return await stack.enter_async_context(Device(MQTT_PORT, fleet, thing, **options))

        yield make
