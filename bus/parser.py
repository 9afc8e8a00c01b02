"""Reads the NATS protocol in one pass over what the socket gave.

nats-py's parser tries six regular expressions at each message and moves the rest of its
buffer forward after each. This one finds the line end, splits, slices and goes on, and leaves
everything that is not a message to nats-py's. It was a quarter of a busy process's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

if TYPE_CHECKING:
    from bus.transport import Transport

MAX_CONTROL_LINE: Final = 64 * 1024
"""Bytes; the server's own limit on subject and reply is 4 KiB unless it was raised."""

_M: Final = ord("M")
_H: Final = ord("H")


class MessageParser(Parser):
    """A drop-in for nats-py's parser that hands messages to ``Transport.deliver``."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self._transport = transport
        self._epoch = 0
        self._missing = 0
        """Bytes that are to come before the message at the front can be whole."""

    def reset(self) -> None:
        """Forget what is half read: the connection is a new one."""
        super().reset()
        self._epoch = getattr(self, "_epoch", 0) + 1
        self._missing = 0

    async def parse(self, data: bytes = b"") -> None:
        """Take in bytes as they came.

        Raises:
            ProtocolError: they are not the NATS protocol.
        """
        held = self.buf
        if held:
            held += data
            if len(held) < self._missing:
                return
            data = bytes(held)
        epoch = self._epoch
        deliver = self._transport.deliver
        position, end = 0, len(data)
        self._missing = 0
        while position < end:
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                if end - position > MAX_CONTROL_LINE:
                    raise ProtocolError("nats: a control line without an end")
                break
            kind = data[position]
            if kind in (_H, _M):
                parts = data[position:line_end].split()
                body = line_end + 2
                try:
                    stop = body + int(parts[-1])
                    head = body + int(parts[-2]) if kind == _H else body
                    sid = int(parts[2])
                    # MSG subject sid [reply] size; HMSG has its header's size before the size.
                    count = len(parts) - (kind == _H)
                    if count not in (4, 5) or not body <= head <= stop:
                        raise ValueError
                    with_reply = count == 5
                    reply = parts[3] if with_reply else b""
                    subject = parts[1]
                except (IndexError, ValueError):
                    raise ProtocolError("nats: malformed MSG") from None
                if stop + 2 > end:
                    self._missing = stop + 2 - position
                    break
                position = stop + 2
                waits = deliver(sid, subject, reply, data[head:stop], data[body:head])
                if waits is not None:
                    await waits
            else:
                # Rare: PING, PONG, INFO, +OK, -ERR. The parent expects them in its buffer.
                self.buf = bytearray()
                line = data[position : line_end + 2]
                position = line_end + 2
                await super().parse(line)
            if self._epoch != epoch:
                # The connection broke meanwhile: the rest belongs to the old one.
                return
        self.buf = bytearray(data[position:])
