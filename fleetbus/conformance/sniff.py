"""What a client says to the server, read as it passes: connect options, and the order of
subscriptions and publishes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

LONGEST: Final = 64 * 1024
"""Bytes of one control line; what is longer is no NATS."""


@dataclass(slots=True)
class Sniffed:
    """One connection, from the client's side."""

    options: dict[str, Any] = field(default_factory=dict)
    """Of its CONNECT."""
    operations: list[tuple[str, str]] = field(default_factory=list)
    """``("SUB" or "PUB", subject)`` in order, until it was connected for long."""
    _buffer: bytearray = field(default_factory=bytearray)
    _skip: int = 0
    _lost: bool = False

    def feed(self, data: bytes) -> None:
        """Bytes from the client. What is not NATS (TLS, say) is left alone."""
        if self._lost:
            return
        self._buffer += data
        while True:
            if self._skip:
                gone = min(self._skip, len(self._buffer))
                del self._buffer[:gone]
                self._skip -= gone
                if self._skip:
                    return
            end = self._buffer.find(b"\r\n")
            if end < 0:
                self._lost = len(self._buffer) > LONGEST
                return
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            try:
                self._line(line)
            except (ValueError, IndexError):
                self._lost = True
                return

    def _line(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        words = rest.split()
        match verb.upper():
            case b"CONNECT":
                self.options = json.loads(rest)
            case b"SUB":
                self._note("SUB", words[0])
            case b"PUB" | b"HPUB":
                self._note("PUB", words[0])
                self._skip = int(words[-1]) + 2

    def _note(self, verb: str, subject: bytes) -> None:
        if len(self.operations) < 2000:
            self.operations.append((verb, subject.decode("utf-8", "replace")))
