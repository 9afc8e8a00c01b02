"""The protocol, read in one pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from nats.errors import ProtocolError

from bus.parser import MessageParser


class Collector:
    """Stands where the transport is: keeps what is delivered."""

    def __init__(self) -> None:
        self.got: list[tuple[int, bytes, bytes, bytes, bytes]] = []

    def deliver(self, *message: object) -> None:
        self.got.append(message)  # type: ignore[arg-type]  # the parser's own arguments


def parser() -> tuple[MessageParser, Collector]:
    collector = Collector()
    return MessageParser(collector), collector  # type: ignore[arg-type]  # a part of a Transport


STREAM = (
    b"MSG a 1 5\r\nhello\r\n"
    b"MSG a.b 2 reply.to 0\r\n\r\n"
    b"HMSG h 3 12 14\r\nNATS/1.0\r\n\r\nok\r\n"
    b"HMSG h 4 r 12 12\r\nNATS/1.0\r\n\r\n\r\n"
    b"MSG nl 5 6\r\na\r\nb\r\n\r\n"
)
MESSAGES = [
    (1, b"a", b"", b"hello", b""),
    (2, b"a.b", b"reply.to", b"", b""),
    (3, b"h", b"", b"ok", b"NATS/1.0\r\n\r\n"),
    (4, b"h", b"r", b"", b"NATS/1.0\r\n\r\n"),
    (5, b"nl", b"", b"a\r\nb\r\n", b""),
]


async def test_messages_are_read_wherever_the_socket_cuts_them() -> None:
    for size in range(1, len(STREAM) + 1):
        one, collector = parser()
        for start in range(0, len(STREAM), size):
            await one.parse(STREAM[start : start + size])
        assert collector.got == MESSAGES, f"in pieces of {size} bytes"


@given(st.binary(max_size=80))
@settings(max_examples=200)
def test_bytes_that_are_no_protocol_are_refused_or_waited_for(garbage: bytes) -> None:
    one, collector = parser()
    one.nc = _Silent()
    try:
        asyncio.run(one.parse(b"MSG " + garbage))
    except ProtocolError:
        return
    assert all(len(message) == 5 for message in collector.got)


class _Silent:
    """Takes what nats-py's parser makes of the lines that are not messages."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        async def ignore(*_: object) -> None:
            pass

        return ignore


async def test_a_new_connection_begins_afresh() -> None:
    one, collector = parser()
    await one.parse(b"MSG a 1 5\r\nhel")
    one.reset()
    await one.parse(STREAM)
    assert collector.got == MESSAGES
