"""The link between a site and its hub: a TCP proxy that can be cut, and counts what passes."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Literal, Self

from bench.harness.errors import BenchError

Fault = Literal["cut", "silent"]
"""``cut``: both ends are told at once, and who tries again is refused. ``silent``: nothing passes
any more and nobody is told, as when a cable is pulled out behind a router."""


class LinkProxy:
    """Passes on what a site and the hub's port ``target`` say to each other."""

    def __init__(self, target: int) -> None:
        self.port = 0
        """Where it listens; 0 before it is entered."""
        self.bytes = 0
        """Passed on so far, both ways, without TCP and IP."""
        self.opened: list[float] = []
        """When each connection reached the hub, on the machine's monotonic clock."""
        self._target = target
        self._refuses = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is None:
            raise BenchError("the link's proxy was left before it was entered")
        self._server.close()
        self._refuses = True
        self._flows.set()
        self._abort()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def sever(self, fault: Fault) -> None:
        """Down from now on."""
        if fault == "silent":
            self._flows.clear()
        else:
            self._refuses = True
            self._abort()

    def mend(self) -> None:
        """Passable again: for what was held, and for whoever connects next."""
        self._refuses = False
        self._flows.set()

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            # A site that connects to a silent link waits for the hub's first words.
            await self._flows.wait()
            given_up = reader.at_eof()
            if not self._refuses and not given_up:
                await self._serve(reader, writer)
        except OSError:
            pass  # cut, or there is no hub: the site tries again
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(up_writer)
        self.opened.append(time.monotonic())
        pumps = [
            asyncio.create_task(self._pump(reader, up_writer)),
            asyncio.create_task(self._pump(up_reader, writer)),
        ]
        try:
            # Where one end has closed, the other has nobody left to talk to.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers.discard(up_writer)
            up_writer.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self._flows.wait()
            self.bytes += len(data)
            sink.write(data)
            await sink.drain()
        # In silence nobody hears that one end has closed, either.
        await self._flows.wait()
