"""What a JetStream ack subject says about its delivery, and what may be answered there."""

from __future__ import annotations

import msgspec

from bus.errors import DecodeError


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One delivery of one stored message."""

    delivered: int
    """1 the first time, counting up with each redelivery."""
    sequence: int
    """In the stream: the message's own, whoever delivers it."""
    stored_ns: int
    """Unix time in nanoseconds at which the broker stored the message."""
    pending: int
    """Messages that were waiting behind it in the same consumer."""


def nak(delay: float) -> bytes:
    """The answer that has a delivery come again in ``delay`` seconds."""
    return b'-NAK {"delay": %d}' % int(delay * 1e9)


def parse(subject: str) -> Delivery:
    """Read ``$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<seq>.…``.

    Raises:
        DecodeError: it is not an ack subject.
    """
    tokens = subject.split(".")
    # Servers from 2.10 on may put a domain and an account hash before the stream.
    first = 4 if len(tokens) == 9 else 6
    try:
        if tokens[0] != "$JS" or tokens[1] != "ACK":
            raise ValueError("does not begin with $JS.ACK")
        return Delivery(
            int(tokens[first]),
            int(tokens[first + 1]),
            int(tokens[first + 3]),
            int(tokens[first + 4]),
        )
    except (IndexError, ValueError) as problem:
        raise DecodeError("ack subject", f"{subject[:200]!r}: {problem}") from None
