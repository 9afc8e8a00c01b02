"""The server of a side: NATS, Redis, or a port for a service of the peer's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.harness import servers
from bench.peers.redis_server import find_redis, free_port, redis_server
from bus.server import NatsServer

Kind = Literal["fleet", "nats", "redis", "redis, append-only", "host"]
"""``fleet``: NATS with a fleet of ours; ``host``: the peer brings its own."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where it is."""

    text: str
    """A URL, or host and port."""
    pids: tuple[int, ...] = ()
    """Its process, if it is not one of the peer's."""


@asynccontextmanager
async def serving(kind: Kind, place: Path) -> AsyncIterator[Address]:
    """A server on a free port of loopback; it and its data go at the end.

    Raises:
        Missing: there is no Redis.
        ServerError, BenchError: it does not start.
    """
    match kind:
        case "fleet":
            async with servers.server() as nats:
                yield Address(nats.url, _pids(nats))
        case "nats":
            async with NatsServer() as nats:
                yield Address(nats.url, _pids(nats))
        case "host":
            yield Address(f"127.0.0.1:{free_port()}")
        case _:
            append_only = kind == "redis, append-only"
            async with redis_server(find_redis(place), append_only=append_only) as (url, pid):
                yield Address(url, (pid,))


def _pids(server: NatsServer) -> tuple[int, ...]:
    return () if server.pid is None else (server.pid,)
