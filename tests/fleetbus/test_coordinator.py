"""``fleetbus coordinator`` as a process."""

from __future__ import annotations

import asyncio
import signal
from urllib.request import urlopen

from bus import Client
from bus.server import NatsServer
from bus.testing import eventually
from tests.conftest import Join
from tests.e2e.test_task_path import echo_agent
from tests.support.cli import fleetbus, started


async def fetch(url: str) -> tuple[int, str]:
    """Status and body of a page."""

    def get() -> tuple[int, str]:
        from urllib.error import HTTPError

        try:
            with urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def test_it_routes_shows_its_health_and_stops(
    nats_url: str, fleet: str, client: Client, join: Join
) -> None:
    options = ("--http", "127.0.0.1:0", "--name", "c1", "-u", nats_url, "-f", fleet)
    async with started("coordinator", *options) as run:
        ready = await run.says("coordinator c1 ready")
        address = ready.rpartition(" ")[2]
        await join(echo_agent())
        assert await client.call("echo", {"text": "hi"}, timeout=5) == "hi"
        assert await fetch(f"{address}/healthz") == (200, "ok\n")
        assert await fetch(f"{address}/readyz") == (200, "ready\n")
        status, body = await fetch(f"{address}/metrics")
        assert status == 200
        assert 'fleetbus_forwarded_total{capability="echo"} 1.0' in body
        assert await run.end(signal.SIGTERM) == 0
        assert "coordinator c1 stopped" in run.text


async def test_it_waits_for_the_server_and_is_unready_without_it() -> None:
    async with NatsServer() as server:
        await server.stop()
        arguments = ("coordinator", "--http", "127.0.0.1:0", "-u", server.url, "-f", "own")
        async with started(*arguments) as run:
            await run.says("waiting: cannot connect")
            await server.restart()
            address = (await run.says(" ready: fleet own")).rpartition(" ")[2]
            await server.stop()

            async def unready() -> bool:
                return await fetch(f"{address}/readyz") == (503, "disconnected from the server\n")

            await eventually(unready)
            assert (await fetch(f"{address}/healthz"))[0] == 200
            await server.restart()

            async def ready() -> bool:
                return (await fetch(f"{address}/readyz"))[0] == 200

            await eventually(ready, 15)
            assert await run.end(signal.SIGINT) == 0


async def test_bad_settings_are_one_line(nats_url: str) -> None:
    done = await fleetbus("coordinator", "--http", "nowhere", "--url", nats_url)
    assert done.status == 2
    assert "setting http: 'nowhere' is not host:port" in done.err
    done = await fleetbus("coordinator", "--no-wait", "--url", "nats://127.0.0.1:1")
    assert done.status == 3
    assert "Traceback" not in done.err
