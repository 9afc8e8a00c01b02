"""The health endpoint, and what it makes of those who do not speak HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.errors import SettingsError
from coordinator import health
from coordinator.health import HealthServer, Response, render


class Process:
    """What is asked for its health."""

    def __init__(self) -> None:
        self.why = ""
        self.broken = False

    def unready(self) -> str:
        return self.why

    def metrics(self) -> tuple[str, bytes]:
        if self.broken:
            raise RuntimeError("a collector failed")
        return "text/plain; version=0", b"up 1\n"


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
async def server(process: Process) -> AsyncIterator[HealthServer]:
    async with HealthServer("127.0.0.1:0", process.unready, process.metrics) as running:
        yield running


async def talk(server: HealthServer, data: bytes, end: bool = False) -> bytes:
    """Send ``data``; return all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        async with asyncio.timeout(8):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def get(server: HealthServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    answer = await talk(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


async def test_alive_and_ready(server: HealthServer) -> None:
    assert await get(server, "/healthz") == (200, b"ok\n")
    assert await get(server, "/readyz") == (200, b"ready\n")
    assert await get(server, "/readyz?verbose=1") == (200, b"ready\n")
    assert await get(server, "/metrics") == (200, b"up 1\n")


async def test_alive_but_not_ready(server: HealthServer, process: Process) -> None:
    process.why = "disconnected"
    assert await get(server, "/readyz") == (503, b"disconnected\n")
    assert (await get(server, "/healthz"))[0] == 200


async def test_what_is_not_there(server: HealthServer) -> None:
    assert (await get(server, "/"))[0] == 404
    assert (await get(server, "/healthz", "POST"))[0] == 405
    assert await get(server, "/healthz", "HEAD") == (200, b"")


async def test_failing_metrics_do_not_end_it(server: HealthServer, process: Process) -> None:
    process.broken = True
    assert (await get(server, "/metrics"))[0] == 500
    process.broken = False
    assert (await get(server, "/metrics"))[0] == 200


async def test_too_much_head_is_refused(server: HealthServer) -> None:
    answer = await talk(server, b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET /healthz\r\n\r\n", b"400"),
        (b"GET  /healthz HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", b"404"),
        (b"\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\n", b"400"),
    ],
)
async def test_not_http(server: HealthServer, sent: bytes, status: bytes) -> None:
    assert (await talk(server, sent, end=True)).split(b" ")[1] == status


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.binary(max_size=20_000))
async def test_garbage_is_survived(server: HealthServer, data: bytes) -> None:
    answer = await talk(server, data, end=True)
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert (await get(server, "/healthz"))[0] == 200


async def test_slow_client_is_given_up(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.2)
    answer = await talk(server, b"GET /healthz HT")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_too_many_at_once(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MAX_CONNECTIONS", 1)
    _, idle = await asyncio.open_connection(server.host, server.port)
    try:
        idle.write(b"GET ")
        await idle.drain()
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while await talk(server, b"GET /healthz HTTP/1.1\r\n\r\n"):
                pass
    finally:
        idle.close()


async def test_stopping_does_not_wait_for_idle_clients(process: Process) -> None:
    async with HealthServer("127.0.0.1:0", process.unready, process.metrics) as running:
        _, idle = await asyncio.open_connection(running.host, running.port)
        await get(running, "/healthz")
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 1.0
    idle.close()


async def test_address_in_use_is_named(server: HealthServer, process: Process) -> None:
    other = HealthServer(f"127.0.0.1:{server.port}", process.unready, process.metrics)
    with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        await other.__aenter__()


def test_render_counts_bytes() -> None:
    answer = render(Response(200, "ü".encode()))
    assert b"Content-Length: 2\r\n" in answer
    assert answer.endswith("\r\n\r\nü".encode())
