"""Whatever arrives on a connection, it goes on: neither deaf nor dead."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from bus import Bus, connect
from bus.errors import DecodeError
from bus.parser import MAX_CONTROL_LINE
from bus.testing import eventually
from bus.transport import Inbound


async def test_a_handler_that_raises_is_counted_and_the_next_message_comes(bus: Bus) -> None:
    got: list[bytes] = []

    def handler(message: Inbound) -> None:
        if message.data == b"bad":
            raise DecodeError("test", "bad")
        if message.data == b"worse":
            raise RuntimeError("a bug")
        got.append(message.data)

    await bus.listen("t", handler)
    for data in (b"1", b"bad", b"2", b"worse", b"3"):
        bus.send("t", data)
    await eventually(lambda: got == [b"1", b"2", b"3"])
    assert bus.dropped == 2


class Raw:
    """A NATS client that may say anything, because it is just a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def publish(self, subject: bytes, data: bytes, block: bytes = b"") -> None:
        if block:
            sizes = b"%d %d" % (len(block), len(block) + len(data))
            self._writer.write(b"HPUB %b %b\r\n%b%b\r\n" % (subject, sizes, block, data))
        else:
            self._writer.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(data), data))
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Raw]:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nPING\r\n')
    assert await reader.readline() == b"PONG\r\n"
    client = Raw(reader, writer)
    try:
        yield client
    finally:
        await client.close()


async def test_subjects_and_headers_that_are_not_utf8(nats_url: str, fleet: str, bus: Bus) -> None:
    got: list[Inbound] = []
    dropped: list[str] = []
    await bus.listen(f"{fleet}.>", got.append)
    await bus.nc.subscribe(f"{fleet}.>", cb=_ignore)
    await bus.flush()
    bus.nc._on_drop = lambda subject, reason: dropped.append(subject)
    async with raw(nats_url) as client:
        await client.publish(fleet.encode() + b".\xff\xfe", b"subject")
        await client.publish(fleet.encode() + b".h", b"1", b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n")
        await client.publish(fleet.encode() + b".h", b"2", b"NATS/1.0\r\n\xc3\x28\r\n\r\n")
        await client.publish(fleet.encode() + b".h", b"3", os.urandom(40) + b"\r\n\r\n")
        await client.publish(fleet.encode() + b".fine", b"4")
    await eventually(lambda: [m.data for m in got] == [b"subject", b"1", b"2", b"3", b"4"])
    # A name that is none of ours, and that whoever must end a stored task can see as such.
    assert got[0].subject == f"{fleet}.��"
    # Headers are bytes until somebody looks, and then it is the reader who hears of it.
    assert got[1].headers == {"A": "��"}
    with pytest.raises(DecodeError):
        _ = got[3].headers
    # nats-py's own subscription drops the bad subject, and bad headers at the most.
    assert dropped.count(f"{fleet}.��") == 1
    assert bus.connected
    assert bus.generation == 0


async def _ignore(message: object) -> None:
    pass


async def test_random_bytes_in_every_place(nats_url: str, fleet: str, bus: Bus) -> None:
    seen = 0

    def handler(message: Inbound) -> None:
        nonlocal seen
        seen += 1
        json.loads(message.data)
        _ = message.headers, message.status

    await bus.listen(f"{fleet}.>", handler)
    await bus.flush()
    async with raw(nats_url) as client:
        for number in range(300):
            # The server itself refuses blanks and wildcards in a subject.
            tail = bytes(b for b in os.urandom(8) if b > 32 and b not in b".*>") or b"x"
            block = b"NATS/1.0" + os.urandom(number % 50) + b"\r\n\r\n" if number % 2 else b""
            await client.publish(fleet.encode() + b"." + tail, os.urandom(number % 60), block)
        await client.publish(fleet.encode() + b".end", b"{}")
    await eventually(lambda: bus.dropped + seen > 300 and seen > 0)
    assert bus.connected
    assert (await bus.request("nobody.is.here")).status == "503"


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"MSG\r\n",
        b"MSG a b c\r\n",
        b"MSG t 1 ten\r\n",
        b"HMSG t 1 5\r\n",
        b"HMSG t 1 20 10\r\n",
        b"MSG t 1 -100\r\n",
        b"\x00\xff\x00\xff\r\n",
        b"x" * (MAX_CONTROL_LINE + 10),
    ],
    ids=lambda garbage: repr(garbage[:20]),
)
async def test_a_server_that_talks_garbage_is_left_and_tried_again(garbage: bytes) -> None:
    """Never a connection that is open and deaf."""
    connections = 0
    stopped = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","headers":true,')
        writer.write(b'"max_payload":1048576,"proto":1}\r\n')
        try:
            while line := await reader.readline():
                if line == b"PING\r\n":
                    writer.write(b"PONG\r\n")
                elif line.startswith(b"SUB ") and connections == 1:
                    writer.write(garbage)
        except ConnectionError:
            pass
        writer.close()
        if connections == 2:
            stopped.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with connect(f"nats://127.0.0.1:{port}", "f", reconnect_max=0.05) as bus:
            await eventually(lambda: bus.generation == 1)
            assert bus.connected
            assert connections == 2
        await stopped.wait()
    finally:
        server.close()
        await server.wait_closed()
