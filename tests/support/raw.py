"""A connection to the server without a client library, which sends whatever it is told."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class RawConnection:
    """Bytes in, bytes out. The server closes it over some of them; it then opens another."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._place = parts.hostname or "127.0.0.1", parts.port or 4222
        self._login = {"user": parts.username, "pass": parts.password} if parts.username else {}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def publish(
        self, subject: bytes, data: bytes = b"", block: bytes | None = None, reply: bytes = b""
    ) -> bool:
        """Send one message; True if the server took it. ``block`` is a raw header block."""
        if block is None:
            head = b"PUB %b %b %d\r\n" % (subject, reply, len(data))
        else:
            total = len(block) + len(data)
            head = b"HPUB %b %b %d %d\r\n" % (subject, reply, len(block), total)
        assert self._writer is not None
        assert self._reader is not None
        self._writer.write(b"%b%b%b\r\nPING\r\n" % (head, block or b"", data))
        async with asyncio.timeout(5):
            while True:
                try:
                    line = await self._reader.readline()
                except OSError:
                    line = b""
                if line == b"PONG\r\n":
                    return True
                if not line or line.startswith(b"-ERR"):
                    await self._close()
                    await self._open()
                    return False

    async def _open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._place)
        await self._reader.readline()  # INFO
        options = {"verbose": False, "pedantic": False, "headers": True, **self._login}
        self._writer.write(b"CONNECT %b\r\n" % json.dumps(options).encode())

    async def _close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None
