"""The agent's link to the server: a TCP proxy, so that a check can cut it."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from fleetbus.conformance.sniff import Sniffed

TOGETHER: Final = 0.01
"""Seconds."""


class Link:
    """Listens on a free port of the loopback and passes everything to ``url``'s server."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url.split(",")[0].strip())
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._hears = asyncio.Event()
        self._hears.set()
        self._up = True
        self._came = asyncio.Event()
        self.connections: list[Sniffed] = []
        """What each connection has said, the newest last."""
        self.url = ""
        """What the agent is to connect to."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login, at, _ = self._parts.netloc.rpartition("@")
        self.url = f"{self._parts.scheme or 'nats'}://{login}{at}127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._up = False
        self._hears.set()
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection; what is under way is lost. New ones are taken at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    def down(self) -> None:
        """Cut, and let nobody in until ``up``."""
        self._up = False
        self.cut()

    def up(self) -> None:
        """Let them in again, and hear the server again."""
        self._up = True
        self._hears.set()

    async def more(self, than: int) -> None:
        """Return when there were more connections than so many."""
        while len(self.connections) <= than:
            self._came.clear()
            await self._came.wait()

    def deafen(self) -> None:
        """What the server says does not reach the agent any more; what it says reaches the
        server."""
        self._hears.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(
                self._parts.hostname or "127.0.0.1", self._parts.port or 4222
            )
        except OSError:  # the agent sees that nobody is there, and tries again
            writer.transport.abort()
            return
        if not self._up:  # it was cut while it was being made
            writer.transport.abort()
            up_writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        sniffed = Sniffed()
        self.connections.append(sniffed)
        self._came.set()
        for source, sink, said in ((reader, up_writer, sniffed), (up_reader, writer, None)):
            pump = asyncio.create_task(self._pump(source, sink, said))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, said: Sniffed | None
    ) -> None:
        try:
            with contextlib.suppress(OSError):  # cut
                while data := await source.read(65536):
                    if said is not None:
                        said.feed(data)
                    elif not self._hears.is_set():
                        await self._hears.wait()
                        # What was held back arrives together, as after a stall.
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(TOGETHER):
                                data += await source.read(65536)
                    if sink.transport.is_closing():
                        return
                    sink.write(data)
                    await sink.drain()
        finally:
            self._writers.discard(sink)
            sink.transport.abort()
