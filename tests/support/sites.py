"""A hub and its sites on real servers, each link through a proxy that tests can cut."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.sites.land import hub_config
from bench.sites.server import free_ports
from bus import sites
from bus.leash import leashed
from bus.server_probe import find_binary
from bus.testing import eventually, fresh_fleet
from tests.support.proxy import Proxy


class Server:
    """A nats-server on a configuration file, that can be killed and started again."""

    def __init__(self, config: Path, port: int) -> None:
        self.config = config
        self.port = port
        self.url = f"nats://127.0.0.1:{port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        log = self.config.with_suffix(".log")
        with log.open("wb") as file:
            self._process = await asyncio.create_subprocess_exec(
                *leashed([str(find_binary()), "-c", str(self.config)]), stdout=file, stderr=file
            )
        process = self._process

        def ready() -> bool:
            if process.returncode is not None:
                raise RuntimeError(f"the server ended: {log.read_text()[-2000:]}")
            return "Server is ready" in log.read_text()

        await eventually(ready, timeout=10)

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
            await self._process.wait()


class Link(Proxy):
    """A link that can be down for a while, and counts what crosses it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.down = False
        self.bytes = 0
        self.readable = False
        """Subjects of ours have crossed as they are."""

    def sever(self) -> None:
        """Down from now on."""
        self.down = True
        self.cut()

    def mend(self) -> None:
        """Up again, when the site tries next."""
        self.down = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        try:
            await super()._accept(reader, writer)
        except OSError:  # the hub is dead
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        read = source.read

        async def counted(n: int = -1) -> bytes:
            data = await read(n)
            self.bytes += len(data)
            self.readable |= b"fleet." in data
            return data

        source.read = counted  # type: ignore[method-assign]  # only to count
        await super()._pump(source, sink)


class Land:
    """One hub, some sites."""

    def __init__(self, fleet: str) -> None:
        self.fleet = fleet
        self.hub: Server
        self.servers: dict[str, Server] = {}
        self.links: dict[str, Link] = {}

    def __getitem__(self, site: str) -> Server:
        return self.servers[site]


@asynccontextmanager
async def land(directory: Path, *names: str, secure: Path | None = None) -> AsyncIterator[Land]:
    """A hub and sites of these names, linked. ``secure``: a folder of
    ``tests.support.certificates``, for TLS on the links."""
    made = Land(fresh_fleet())
    hub_tls = leaf_tls = ""
    if secure is not None:
        hub_tls = f'tls {{ cert_file: "{secure}/server.pem", key_file: "{secure}/server-key.pem" }}'
        leaf_tls = f'      tls {{ ca_file: "{secure}/ca.pem" }}'
    port, leaf, *ports = free_ports(2 + len(names))
    async with AsyncExitStack() as stack:
        config = directory / "hub.conf"
        logins = {one: f"user: {one}, password: {one}" for one in names}
        config.write_text(hub_config(directory, port, leaf, made.fleet, logins, hub_tls))
        made.hub = Server(config, port)
        await made.hub.start()
        stack.push_async_callback(made.hub.kill)
        for name, own in zip(names, ports, strict=True):
            link = await stack.enter_async_context(Link(f"nats://127.0.0.1:{leaf}"))
            made.links[name] = link
            scheme = "nats-leaf" if secure is None else "tls"
            url = link.url.replace("nats://", f"{scheme}://{name}:{name}@")
            text = sites.render_leaf(
                name,
                url,
                leaf_tls,
                store=str(directory / name),
                listen=f"127.0.0.1:{own}",
                password="",
            )
            text = text.replace('reconnect: "1s"', 'reconnect: "100ms"')
            path = directory / f"{name}.conf"
            path.write_text(text)
            made.servers[name] = server = Server(path, own)
            await server.start()
            stack.push_async_callback(server.kill)
        yield made
