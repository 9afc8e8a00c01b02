"""A client's tasks when the client leaves."""

from __future__ import annotations

import asyncio

import pytest

from bus import Bus, Client
from bus.errors import Disconnected
from bus.testing import eventually


async def test_a_client_that_leaves_tells_those_who_wait(bus: Bus) -> None:
    async with Client(bus) as client:
        handles = [
            await client.submit("nothing"),
            await client.submit("nothing", key="k"),
            await client.submit("nothing", key="k"),
        ]
        waiters = [asyncio.create_task(handle.result()) for handle in handles]
        await asyncio.sleep(0)
    for waiter in waiters:
        with pytest.raises(Disconnected, match="the client was closed before task"):
            await waiter


async def test_a_client_that_leaves_a_shared_bus_takes_its_subscriptions_along(bus: Bus) -> None:
    before = len(bus.nc._direct)
    for _ in range(3):
        async with Client(bus) as client:
            await client.submit("nothing", key="k")
            assert len(bus.nc._direct) > before
    await eventually(lambda: len(bus.nc._direct) == before)
    assert bus.reconnected == []
