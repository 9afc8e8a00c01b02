"""The shipped server configurations, checked and run by the real server."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from bench.sites.server import free_ports
from bus.subjects import DISCONNECTS
from tests.deploy.servers import SECRETS, check, running, turn_on


@asynccontextmanager
async def connected(port: int, ca: Path | None = None, **options: Any) -> AsyncIterator[Client]:
    options = {"user": "fleet", "password": "a$b c", **options}
    context = None if ca is None else ssl.create_default_context(cafile=str(ca))
    client = await nats.connect(
        f"nats://127.0.0.1:{port}", allow_reconnect=False, tls=context, **options
    )
    try:
        yield client
    finally:
        await client.close()


def loopback(config: Path, port: int) -> None:
    text = config.read_text()
    for address in ("127.0.0.1:4222", "0.0.0.0:4222"):
        text = text.replace(address, f"127.0.0.1:{port}")
    config.write_text(text.replace("127.0.0.1:8222", "127.0.0.1:-1"))


async def test_single_is_valid(nats_dir: Path) -> None:
    code, output = await check(nats_dir / "single.conf", SECRETS)
    assert code == 0, output


async def test_cluster_is_valid(nats_dir: Path, certificates: Path) -> None:
    code, output = await check(nats_dir / "cluster.conf", {**SECRETS, "NATS_NAME": "nats-1"})
    assert code == 0, output


@pytest.mark.parametrize("name", ["single.conf", "cluster.conf"])
async def test_is_valid_with_everything_on(nats_dir: Path, certificates: Path, name: str) -> None:
    path = nats_dir / name
    text = path.read_text()
    assert turn_on(text) != text
    path.write_text(turn_on(text))
    code, output = await check(path, {**SECRETS, "NATS_NAME": "nats-1"})
    assert code == 0, output


@pytest.mark.parametrize("missing", ["SYS_PASSWORD", "FLEET_PASSWORD"])
async def test_does_not_start_without_a_password(nats_dir: Path, missing: str) -> None:
    secrets = {name: value for name, value in SECRETS.items() if name != missing}
    code, output = await check(nats_dir / "single.conf", secrets)
    assert code != 0
    assert missing in output


async def test_single_serves_the_fleet_as_the_embedded_server_does(nats_dir: Path) -> None:
    config = nats_dir / "single.conf"
    (port,) = free_ports(1)
    loopback(config, port)
    async with running(config, SECRETS):
        async with connected(port) as watcher:
            events = await watcher.subscribe(DISCONNECTS)
            await watcher.flush()
            async with connected(port, name="agent:a1:7") as client:
                await client.jetstream().add_stream(name="S", subjects=["s"])
                assert (await client.jetstream().publish("s", b"x")).seq == 1
            event = json.loads((await events.next_msg(timeout=5)).data)
            assert event["client"]["name"] == "agent:a1:7"
        async with connected(port, user="sys", password="1g") as operator:
            answer = await operator.request("$SYS.REQ.SERVER.PING", b"", timeout=5)
            assert json.loads(answer.data)["server"]["name"] == "fleetbus-nats"


async def test_nobody_can_announce_a_loss_that_was_none(nats_dir: Path) -> None:
    config = nats_dir / "single.conf"
    (port,) = free_ports(1)
    loopback(config, port)
    refused = asyncio.Event()

    async def on_error(problem: Exception) -> None:
        if "permissions violation" in str(problem).lower():
            refused.set()

    async with running(config, SECRETS), connected(port, error_cb=on_error) as client:
        await client.publish(DISCONNECTS, b"{}")
        await asyncio.wait_for(refused.wait(), 5)


async def test_single_serves_tls_when_it_is_turned_on(nats_dir: Path, certificates: Path) -> None:
    config = nats_dir / "single.conf"
    (port,) = free_ports(1)
    loopback(config, port)
    config.write_text(turn_on(config.read_text()))
    async with running(config, SECRETS):
        async with connected(port, certificates / "ca.pem") as client:
            await client.jetstream().add_stream(name="S", subjects=["s"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        info = await reader.readline()
        assert b'"tls_required":true' in info
        writer.write(b'CONNECT {"user": "fleet", "pass": "a$b c"}\r\nPING\r\n')
        assert b"PONG" not in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()


async def add_stream(client: Client, config: StreamConfig) -> None:
    """Make a stream, as soon as the servers of the cluster have found each other."""
    async with asyncio.timeout(30):
        while True:
            try:
                await client.jetstream().add_stream(config)
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(0.1)
            else:
                return


@pytest.mark.slow
async def test_three_servers_keep_three_copies_and_announce_a_loss_once(
    nats_dir: Path, certificates: Path
) -> None:
    ca = certificates / "ca.pem"
    ports, routes = free_ports(3), free_ports(3)
    async with AsyncExitStack() as stack:
        for n in (1, 2, 3):
            config = nats_dir / f"nats-{n}.conf"
            text = (nats_dir / "cluster.conf").read_text().replace("/store", f"/store-{n}")
            text = text.replace("0.0.0.0:6222", f"127.0.0.1:{routes[n - 1]}")
            for other in (1, 2, 3):
                text = text.replace(f"nats-{other}:6222", f"127.0.0.1:{routes[other - 1]}")
            config.write_text(text)
            loopback(config, ports[n - 1])
            environ = {**SECRETS, "NATS_NAME": f"nats-{n}"}
            await stack.enter_async_context(running(config, environ))
        first = await stack.enter_async_context(connected(ports[0], ca))
        second = await stack.enter_async_context(connected(ports[1], ca))

        await add_stream(first, StreamConfig(name="S", subjects=["s"], num_replicas=3))
        cluster = (await first.jetstream().stream_info("S")).cluster
        assert cluster is not None
        assert cluster.replicas is not None
        assert {cluster.leader, *(one.name for one in cluster.replicas)} == {
            "nats-1",
            "nats-2",
            "nats-3",
        }
        for client in (first, second):
            events = await client.subscribe(DISCONNECTS)
            await client.flush()
            # Interest crosses the routes a moment after the flush: the first may go unseen.
            for name in ("one", "two", "three", "end"):
                async with connected(ports[2], ca, name=name):
                    pass
            seen: list[str] = []
            while "end" not in seen:
                event = json.loads((await events.next_msg(timeout=5)).data)
                seen.append(event["client"]["name"])
            assert len(seen) > 1
            assert len(seen) == len(set(seen))
            await events.unsubscribe()
