"""Servers that a whole test session shares."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from bus.server import NatsServer


def embedded_url() -> Iterator[str]:
    """The wheel's server, on a loop of its own: fixtures of a session have no event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="session-nats", daemon=True)
    thread.start()
    server = NatsServer()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(60)
        try:
            yield server.url
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def container_url() -> Iterator[str]:
    """A NATS container; skips the test where no Docker engine answers."""
    docker = pytest.importorskip("docker")
    try:
        docker.from_env().ping()
    except docker.errors.DockerException as problem:
        pytest.skip(f"no Docker engine answers: {problem}")
    from testcontainers.nats import NatsContainer

    with NatsContainer("nats:2.12").with_command("-js") as container:
        yield container.nats_uri()
