"""Message headers: their names, and a codec that touches each byte once.

nats-py parses headers into a dict before anybody asks for them and validates each one again
when they are sent. On the task path most hops only pass them on, so here a block of headers
stays bytes until a value is needed, and a forward appends to the block it received.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from bus.errors import DecodeError

TASK: Final = "Fleet-Task"
CAPABILITY: Final = "Fleet-Capability"
ATTEMPT: Final = "Fleet-Attempt"
MAX_ATTEMPTS: Final = "Fleet-Max-Attempts"
DEADLINE: Final = "Fleet-Deadline"
"""Unix time in milliseconds after which nobody wants the result."""
SELECT: Final = "Fleet-Select"
SESSION: Final = "Fleet-Session"
CALLER: Final = "Fleet-Caller"
ACK: Final = "Fleet-Ack"
REPLY: Final = "Fleet-Reply"
"""The inbox of the one who calls; a call's dispatch carries it beside its own reply subject."""
VIA: Final = "Fleet-Via"
PROBE: Final = "Fleet-Probe"
PAYLOAD: Final = "Fleet-Payload"
"""Name of the object that holds a payload too big for a message."""
SIZE: Final = "Fleet-Size"
"""On the end of a payload that crosses a link: its bytes."""
STATE: Final = "Fleet-State"
AGENT: Final = "Fleet-Agent"
ERROR: Final = "Fleet-Error"
QUEUED_MS: Final = "Fleet-Queued-Ms"
RUN_MS: Final = "Fleet-Run-Ms"
USAGE: Final = "Fleet-Usage"
BUSY: Final = "Fleet-Busy"
INCARNATION: Final = "Fleet-Incarnation"
ORIGIN: Final = "Fleet-Origin"
"""The other side of a link from which a task came: a site's name, or ``hub``."""
SITE: Final = "Fleet-Site"
"""On an attempt marker: the side to which the task was handed over."""
CONTENT_TYPE: Final = "Content-Type"
TRACEPARENT: Final = "traceparent"
MSG_ID: Final = "Nats-Msg-Id"
TTL: Final = "Nats-TTL"
EXPECT_LAST_SEQ: Final = "Nats-Expected-Last-Sequence"
EXPECT_LAST_SUBJECT_SEQ: Final = "Nats-Expected-Last-Subject-Sequence"
STATUS: Final = "Status"

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"

_LINE: Final = b"NATS/1.0"
_BEGIN: Final = b"NATS/1.0\r\n"
_END: Final = b"\r\n"

Headers = dict[str, str]


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """A complete header block.

    Raises:
        ValueError: a name or value holds a line break, which would forge another header.
    """
    return join([f"{name}: {value}\r\n" for name, value in fields])


def join(lines: list[str]) -> bytes:
    """A complete header block of lines that are ``Name: value\\r\\n`` each.

    Raises:
        ValueError: one of them holds another line break.
    """
    text = "".join(lines)
    # One scan for the whole block instead of one for each field.
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise ValueError("a header holds a line break")
    return f"NATS/1.0\r\n{text}\r\n".encode()


def extend(block: bytes, fields: bytes) -> bytes:
    """``block`` with more header lines. ``fields`` is ``b"Name: value\\r\\n"`` repeated."""
    if not block:
        return b"%b%b\r\n" % (_BEGIN, fields)
    return b"%b%b\r\n" % (block[:-2], fields)


def line(name: str, value: str) -> bytes:
    """One header line.

    Raises:
        ValueError: the value holds a line break.
    """
    if "\r" in value or "\n" in value:
        raise ValueError(f"header {name} holds a line break")
    return f"{name}: {value}\r\n".encode()


def decode(block: bytes) -> Headers:
    """Parse a header block. An inline status (``NATS/1.0 503``) becomes ``Status``.

    Raises:
        DecodeError: it is not a header block.
    """
    if not block.startswith(_LINE):
        raise DecodeError("headers", "do not begin with NATS/1.0")
    text = block.decode("utf-8", "replace")
    lines = text.split("\r\n")
    if text.count("\n") >= len(lines) or text.count("\r") >= len(lines):
        # A lone line break within a value: it could not be sent on, and is no part of any.
        lines = [line.replace("\r", " ").replace("\n", " ") for line in lines]
    fields: Headers = {}
    first = lines[0]
    if len(first) > 8:
        fields[STATUS] = first[9:12]
    for line_ in lines[1:]:
        name, colon, value = line_.partition(":")
        if colon:
            fields[name] = value.strip()
    return fields


def find(block: bytes, name: str) -> str:
    """One header's value without a look at the others; empty if it is not there. Of several the
    last counts, as in ``decode``: the server adds its own behind those that were published."""
    at = block.rfind(_needle(name))
    if at < 0:
        return ""
    start = at + len(name) + 3
    return block[start : block.find(b"\r\n", start)].decode("utf-8", "replace").strip()


@lru_cache(256)
def _needle(name: str) -> bytes:
    return f"\r\n{name}:".encode()
