"""The test kit: public, because users test their agents with it.

::

    async def test_my_agent():
        async with NatsServer() as server, fleet(server.url) as name:
            async with agent.connect(server.url, name), Client.connect(server.url, name) as c:
                assert await c.call("greet", {"name": "Ada"}) == "Hello, Ada"
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

from bus import topology
from bus.connection import connect
from bus.server import NatsServer
from bus.topology import TopologySettings

T = TypeVar("T")

__all__ = ["NatsServer", "eventually", "fleet", "fresh_fleet"]


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], timeout: float = ..., every: float = ...
) -> T: ...


@overload
async def eventually(check: Callable[[], T], timeout: float = ..., every: float = ...) -> T: ...


async def eventually(check: Callable[[], Any], timeout: float = 5.0, every: float = 0.01) -> Any:
    """Return the first true value of ``check``, which is tried until it is.

    An ``AssertionError`` counts as false, so that ``check`` may assert.

    Raises:
        AssertionError: not true within ``timeout`` seconds; the last assertion's text is kept.
    """
    until = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            value = check()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            last = value
        except AssertionError as error:
            last = error
        if time.monotonic() >= until:
            raise AssertionError(f"not true within {timeout:g} s: {last!r}")
        await asyncio.sleep(every)


def fresh_fleet() -> str:
    """A fleet name that no other test uses."""
    return f"t{os.urandom(6).hex()}"


@asynccontextmanager
async def fleet(
    url: str, name: str | None = None, settings: TopologySettings | None = None
) -> AsyncIterator[str]:
    """A fleet of its own, with its streams, which are deleted at the end.

    Raises:
        ConnectError, TopologyConflict: as for ``bus.connect`` and ``topology.ensure``.
    """
    chosen = name or fresh_fleet()
    async with connect(url, chosen) as bus:
        await topology.ensure(bus, settings)
    try:
        yield chosen
    finally:
        # Another connection: the test may have restarted the server.
        async with connect(url, chosen) as bus:
            await topology.remove(bus)
