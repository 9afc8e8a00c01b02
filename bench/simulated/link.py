"""A NATS connection that thousands of simulated agents share: bare, so that it is no limit.

It hands each message to one function by subscription id, keeps nothing of what is subscribed,
and does not reconnect by itself: each agent that it carries comes back when its own connection
would have.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import unquote, urlsplit

from bench.harness.errors import BenchError

OnMessage = Callable[[int, bytes, bytes, bytes], None]
"""Subscription id, reply subject, header block, body."""
OnReply = Callable[[bytes, bytes], None]
"""Header block and body of an answer."""

OnAnswers = Callable[[bytes, list[tuple[bytes, bytes]]], None]
"""The status that ended them, such as ``b"204"``; header block and body of each."""

INBOX_SID: Final = 1
"""Of the subscription to answers. Smaller ids than ``FIRST_SID`` are the link's own."""
FIRST_SID: Final = 16

_STATUS: Final = b"NATS/1.0 "
"""How a header block begins that has a status."""


class Link(asyncio.Protocol):
    """One connection. ``connect`` opens it, and again after it was lost."""

    def __init__(
        self, url: str, name: str, on_message: OnMessage, on_lost: Callable[[], None]
    ) -> None:
        """``on_message`` gets all that is no answer; ``on_lost`` is told when it breaks."""
        self.up = False
        self.received = 0
        """Messages, answers included."""
        self.sent = 0
        self._url = urlsplit(url)
        if not self._url.hostname or not self._url.port:
            raise BenchError(f"{url!r} names no host and port")
        self._place = (self._url.hostname, self._url.port)
        self._name = name
        self._on_message = on_message
        self._on_lost = on_lost
        self._inbox = f"_INBOX.{os.urandom(9).hex()}."
        self._expected: dict[int, OnReply] = {}
        self._gathered: dict[int, tuple[OnAnswers, list[tuple[bytes, bytes]]]] = {}
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._closing = False

    async def connect(self, timeout: float = 10.0) -> None:
        """Open it; return when the server has answered.

        Raises:
            OSError, TimeoutError: nobody answers there.
            BenchError: the server refused the connection.
        """
        self._ready = self._loop.create_future()
        self._rest = b""
        try:
            async with asyncio.timeout(timeout):
                await self._loop.create_connection(lambda: self, *self._place)
                await self._ready
        except BaseException:
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.abort()
            raise

    def close(self) -> None:
        """Write what waits and close."""
        self._closing = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def subscribe(self, subject: str, sid: int) -> None:
        """Messages on ``subject`` come with this id."""
        self._write(f"SUB {subject} {sid}\r\n".encode())

    def send(self, subject: str, data: bytes = b"", reply: str = "", block: bytes = b"") -> None:
        """Publish. While the link is down, nothing is sent: the agent is cut off."""
        self.sent += 1
        if block:
            size = len(block)
            head = f"HPUB {subject} {reply} {size} {size + len(data)}\r\n".encode()
            self._write(b"%b%b%b\r\n" % (head, block, data))
        else:
            self._write(b"PUB %b %b %d\r\n%b\r\n" % (
                subject.encode(), reply.encode(), len(data), data
            ))  # fmt: skip

    def ask(self, subject: str, on_reply: OnReply, data: bytes = b"", block: bytes = b"") -> None:
        """Publish, and wait for one answer, or for the server's word that nobody listens. If
        the connection breaks first there is none."""
        self._number += 1
        self._expected[self._number] = on_reply
        self.send(subject, data, f"{self._inbox}{self._number}", block)

    def ask_all(self, subject: str, on_answers: OnAnswers, data: bytes) -> None:
        """Publish, and wait for any number of answers that a status ends. If the connection
        breaks first there are none. They come to the link's inbox, where an ordinary client
        would subscribe another for them."""
        self._number += 1
        self._gathered[self._number] = (on_answers, [])
        self.send(subject, data, f"{self._inbox}{self._number}")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        was_up, self.up = self.up, False
        if not was_up and self._transport is None:
            return  # one that was given up
        self._transport = None
        self._out.clear()
        self._expected.clear()
        self._gathered.clear()
        if not self._ready.done():
            self._ready.set_exception(error or ConnectionResetError("closed by the server"))
        elif was_up and not self._closing:
            self._on_lost()

    def data_received(self, data: bytes) -> None:
        """Called by the loop: whatever the server has sent."""
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while position < end:
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                break
            kind = data[position]
            if kind == 77 or kind == 72:  # M or H
                parts = data[position:line_end].split()
                body = line_end + 2
                stop = body + int(parts[-1])
                if stop + 2 > end:
                    break
                with_headers = kind == 72
                head = body + int(parts[-2]) if with_headers else body
                reply = parts[3] if len(parts) == 5 + with_headers else b""
                self.received += 1
                sid = int(parts[2])
                if sid == INBOX_SID:
                    self._answered(parts[1], data[body:head], data[head:stop])
                else:
                    self._on_message(sid, reply, data[body:head], data[head:stop])
                position = stop + 2
            else:
                self._control(data[position:line_end])
                position = line_end + 2
        self._rest = data[position:]

    # the inside

    def _answered(self, subject: bytes, block: bytes, data: bytes) -> None:
        number = int(subject[len(self._inbox) :])
        on_reply = self._expected.pop(number, None)
        if on_reply is not None:
            on_reply(block, data)
        elif (gathered := self._gathered.get(number)) is not None:
            on_answers, answers = gathered
            if block.startswith(_STATUS):
                del self._gathered[number]
                on_answers(block[len(_STATUS) :][:3], answers)
            else:
                answers.append((block, data))

    def _control(self, line: bytes) -> None:
        if line == b"PING":
            self._write(b"PONG\r\n")
        elif line.startswith(b"INFO") and not self._ready.done():
            self._greet()
        elif line == b"PONG" and not self._ready.done():
            self.up = True
            self._ready.set_result(None)
        elif line.startswith(b"-ERR"):
            problem = BenchError(f"the server refused a simulated agent: {line.decode()}")
            if self._ready.done():
                raise problem
            self._ready.set_exception(problem)

    def _greet(self) -> None:
        options: dict[str, object] = {
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "name": self._name,
            "lang": "fleetbus-bench",
            "version": "1",
            "protocol": 1,
        }
        if self._url.username:
            options["user"] = unquote(self._url.username)
            options["pass"] = unquote(self._url.password or "")
        self._write(b"CONNECT %b\r\n" % json.dumps(options).encode())
        self.subscribe(f"{self._inbox}*", INBOX_SID)
        self._write(b"PING\r\n")

    def _write(self, line: bytes) -> None:
        if self._transport is None:
            return
        if not self._out:
            # All that one turn of the loop says leaves in one system call.
            self._loop.call_soon(self._flush)
        self._out.append(line)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.writelines(out)
