"""A server for what a real one will not do: each connection is answered by a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

INFO = {"server_id": "S", "version": "2.12.0", "max_payload": 1048576, "headers": True}


class Peer:
    """One connection, as its script sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def greet(self, **more: Any) -> None:
        """Send INFO."""
        await self.say(b"INFO " + json.dumps({**INFO, **more}).encode() + b"\r\n")

    async def let_in(self, **more: Any) -> dict[str, Any]:
        """INFO, and what the client answers with CONNECT."""
        await self.greet(**more)
        wish: dict[str, Any] = json.loads((await self.reader.readline()).partition(b" ")[2])
        assert await self.reader.readline() == b"PING\r\n"
        await self.say(b"PONG\r\n")
        return wish

    async def serve(self) -> None:
        """Answer pings for ever."""
        while line := await self.reader.readline():
            if line == b"PING\r\n":
                await self.say(b"PONG\r\n")


Script = Callable[[Peer], Awaitable[object]]


class Scripted:
    """Where it listens, and what it has seen."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.accepted = 0
        self.problems: list[BaseException] = []
        """Of scripts; a connection that breaks is none."""


async def well(peer: Peer) -> None:
    """As a good server does."""
    await peer.let_in()
    await peer.serve()


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[Scripted]:
    """Answer the first connection with the first script, and all after the last with that."""
    server = Scripted()
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = scripts[min(server.accepted, len(scripts) - 1)]
        server.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(Peer(reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up
        except Exception as problem:
            server.problems.append(problem)
        finally:
            tasks.discard(task)
            writer.transport.abort()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    server.url = f"nats://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()
    assert server.problems == []
