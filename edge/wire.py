"""The NATS protocol as bytes: a parser that keeps no more than it was told to, and headers.

Nothing here does I/O.
"""

from edge.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias, Union

    Op: TypeAlias = Union[tuple[str, str], "Message"]  # noqa: UP007  # Message comes below
    """A message, or what else the server says: its verb and the rest of the line."""

MAX_LINE = 4096
"""Bytes of a control line: the server's own limit."""
MAX_INFO = 32768
"""Bytes of the server's INFO, which may name all servers of a cluster."""
MAX_HEAD = 8192
"""Bytes of a header block. A longer one is skipped, and its message with it."""


class Message:
    """A message as it came. ``body`` is None if it was too big to be kept; ``size`` tells."""

    def __init__(self, subject: str, sid: int, reply: str, head: bytes, body: bytes | None) -> None:
        self.subject = subject
        self.sid = sid
        self.reply = reply
        self.head = head
        self.body = body
        self.size = 0 if body is None else len(body)
        self._fields: dict[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """By name; of several with one name the last. An inline status is ``Status``."""
        if self._fields is None:
            self._fields = fields(self.head)
        return self._fields


class Parser:
    """Takes bytes as they come, in pieces of any size.

    Args:
        largest: bytes of a body that are kept. Longer ones are counted and read past.
    """

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self._line = b""
        self._message: Message | None = None
        self._head = 0
        self._total = 0
        self._keep = 0
        self._held = bytearray()
        self._at = 0

    @property
    def busy(self) -> bool:
        """Whether it holds the beginning of something."""
        return bool(self._line) or self._message is not None

    def feed(self, data: bytes) -> "list[Op]":
        """What is complete now.

        Raises:
            ProtocolError: it is not the NATS protocol.
        """
        found: list[Op] = []
        at = 0
        end = len(data)
        while at < end:
            if self._message is not None:
                at = self._fill(data, at, found)
                continue
            stop = data.find(b"\n", at)
            if stop < 0:
                self._line += data[at:]
                self._check(self._line)
                break
            line = data[at:stop]
            if self._line:
                line = self._line + line
                self._line = b""
            self._check(line)
            at = stop + 1
            if line.endswith(b"\r"):
                line = line[:-1]
            self._take(line, found)
        return found

    def _check(self, line: bytes) -> None:
        if len(line) > (MAX_INFO if line[:4].upper() == b"INFO" else MAX_LINE):
            raise ProtocolError(f"a control line of more than {len(line)} bytes")

    def _take(self, line: bytes, found: "list[Op]") -> None:
        line = line.strip()
        words = line.split()
        verb = text(words[0]).upper() if words else ""
        if verb in ("MSG", "HMSG"):
            self._begin(words, verb == "HMSG")
        elif verb in ("INFO", "PING", "PONG", "+OK", "-ERR"):
            found.append((verb, text(line[len(verb) :]).strip(" \t'")))
        elif verb:
            raise ProtocolError("unknown: " + text(line[:40]))

    def _begin(self, words: list[bytes], has_head: bool) -> None:
        # MSG subject sid [reply] size; HMSG has the size of its headers before that of all.
        sizes = words[-2:] if has_head else [b"0", words[-1]]
        count = len(words) - has_head
        digits = words[2:3] + sizes if count in (4, 5) else [b""]
        if not all(one.isdigit() for one in digits):
            raise ProtocolError("bad message line")
        head, total = int(sizes[0]), int(sizes[1])
        if head > total:
            raise ProtocolError("headers longer than their message")
        reply = text(words[3]) if count == 5 else ""
        self._message = Message(text(words[1]), int(words[2]), reply, b"", None)
        self._message.size = total - head
        self._head = head
        self._total = total + 2
        self._keep = self._total
        if total - head > self.largest:
            self._keep = head
        if head > MAX_HEAD:
            self._keep = 0
        self._held = bytearray(self._keep)
        self._at = 0

    def _fill(self, data: bytes, at: int, found: "list[Op]") -> int:
        """Take what belongs to the message; where its bytes end in ``data``."""
        stop = min(len(data), at + self._total - self._at)
        wanted = min(stop - at, self._keep - self._at)
        if wanted > 0:
            self._held[self._at : self._at + wanted] = data[at : at + wanted]
        self._at += stop - at
        if self._at == self._total:
            message, self._message = self._message, None
            held, self._held = bytes(self._held), bytearray()
            if message is not None:
                if self._keep == self._total:
                    if held[-2:] != b"\r\n":
                        raise ProtocolError("a message is longer than it says")
                    message.body = held[self._head : -2]
                message.head = held[: self._head]
                found.append(message)
        return stop


def text(data: bytes) -> str:
    """``data`` as text, whatever it is."""
    try:
        return str(data, "utf-8")
    except UnicodeError:
        return "".join(chr(one) if one < 128 else "?" for one in data)


def fields(head: bytes) -> dict[str, str]:
    """A header block by name. An inline status (``NATS/1.0 503``) is ``Status``."""
    found: dict[str, str] = {}
    # A lone line break could not be sent on, and is no part of any name or value.
    lines = [one.replace("\r", " ").replace("\n", " ") for one in text(head).split("\r\n")]
    if len(lines[0]) > 8:
        found["Status"] = lines[0][9:12]
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found[name] = value.strip()
    return found


def block(pairs: "Iterable[tuple[str, str]]") -> bytes:
    """A header block.

    Raises:
        ValueError: a name or value has a line break, which would forge another header.
    """
    made = "NATS/1.0\r\n"
    for name, value in pairs:
        for one in (name, value):
            if "\r" in one or "\n" in one:
                raise ValueError(f"header {name[:80]} has a line break")
        made += name + ": " + value + "\r\n"
    return (made + "\r\n").encode()
