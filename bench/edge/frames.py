"""What a recorded connection was made of. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.harness.errors import BenchError

SEGMENT: Final = 52
"""Bytes of the IPv4 and TCP headers of a segment, with timestamps."""

BEAT, RENEWAL, ANSWER, ADVERT, PING, OTHER = (
    "heartbeats",
    "lease renewals",
    "their answers",
    "their adverts",
    "pings and pongs",
    "other",
)
KINDS: Final = (BEAT, RENEWAL, ANSWER, ADVERT, PING, OTHER)


@dataclass(frozen=True, slots=True)
class Frame:
    """One protocol message, as it is on the wire."""

    kind: str
    size: int


def frames(stream: bytes) -> Iterator[Frame]:
    """The messages of one direction. Pure.

    Raises:
        BenchError: it does not begin or end between two messages.
    """
    at = 0
    while at < len(stream):
        end = stream.find(b"\r\n", at)
        if end < 0:
            raise BenchError(f"the recording ends within {stream[at:][:60]!r}")
        words = stream[at:end].split()
        size = end + 2 - at
        verb = words[0].upper() if words else b""
        if verb in (b"PUB", b"HPUB", b"MSG", b"HMSG"):
            size += int(words[-1]) + 2
            yield Frame(_kind(words[1].decode()), size)
        elif verb in (b"PING", b"PONG"):
            yield Frame(PING, size)
        else:
            yield Frame(OTHER, size)
        at += size


def _kind(subject: str) -> str:
    if subject.startswith("_INBOX."):
        return ANSWER
    if subject.startswith("$KV.REGISTRY_"):
        return RENEWAL
    part = subject.split(".")[2:3]
    return {"hb": BEAT, "advert": ADVERT}.get(part[0] if part else "", OTHER)


def by_kind(recorded: Iterable[tuple[float, bool, bytes]]) -> dict[str, list[int]]:
    """Messages, bytes from the device and bytes to it, by kind. Pure.

    Raises:
        BenchError: as for ``frames``.
    """
    found = {kind: [0, 0, 0] for kind in KINDS}
    taken = list(recorded)
    for ours in (True, False):
        for frame in frames(b"".join(data for _, near, data in taken if near is ours)):
            found[frame.kind][0] += 1
            found[frame.kind][1 if ours else 2] += frame.size
    return found


def headers(segments: int) -> int:
    """Bytes of TCP and IP for so many segments with data, each acknowledged by one without: the
    most, since an answer can carry the acknowledgement. Pure."""
    return segments * 2 * SEGMENT
