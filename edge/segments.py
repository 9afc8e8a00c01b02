"""The files of a spool: segments, which are only appended to, and removed whole.

A segment is named by its kind and its first number. A record is a header (magic, length, number,
CRC) and its body. The CRC covers where the record is, too, so that neither old blocks of a disk nor
a copy of a record inside a body can pass for one. What is torn or damaged is skipped: reading goes
on at the next good record.
"""

import binascii
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from edge.files import Files

HEAD = 18
"""Bytes of a record before its body."""

_MAGIC = b"\xf1\x5b"
_HEADER = "<2sIQ"
_CHUNK = 512


class Lane:
    """One kind's segments."""

    def __init__(self, folder: str, kind: str) -> None:
        self.kind = kind
        self._folder = folder
        self.segments: list[list[int]] = []
        """Oldest first: first number, bytes, records above the position, last number."""
        self.position = 0
        """All up to this number is done,"""
        self.at = 0
        """and so is all before this place in the first segment."""
        self.done: set[int] = set()
        """Numbers above the position that are done."""
        self.read = (0, 0, 0)
        """Where first() ended: segment, place, number."""
        self.sealed = False
        """The last segment is not to be appended to."""
        self.file: Any = None
        """The last segment, open for appending, or None."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum([segment[1] for segment in self.segments])

    @property
    def records(self) -> int:
        """Above the position."""
        return sum([segment[2] for segment in self.segments])

    def path(self, first: int) -> str:
        """Of the segment that begins with this number."""
        return f"{self._folder}/{self.kind}{first:08x}"

    def append(self, files: "Files", seq: int, body: bytes) -> None:
        """Write a record behind the last segment's; it survives a power cut then.

        Raises:
            OSError: it may be there in part, so that nothing is to follow it.
        """
        segment = self.segments[-1]
        head = struct.pack(_HEADER, _MAGIC, len(body), seq)
        crc = binascii.crc32(body, _seed(segment[0], segment[1], head))
        try:
            opened = self.file is None
            if opened:
                self.file = files.open(self.path(segment[0]), "ab")
            files.write(self.file, head + struct.pack("<I", crc))
            files.write(self.file, body)
            files.sync(self.file)
            if opened:
                # Also when the file was there before: its name may not have been synced.
                files.sync_folder(self._folder)
        except OSError:
            self.close()
            self.sealed = True
            raise
        segment[1] += HEAD + len(body)
        segment[2] += 1
        segment[3] = seq

    def close(self) -> None:
        """Append no more for now."""
        file, self.file = self.file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                # What was acknowledged was synced; the rest of the file is not to be trusted.
                self.sealed = True


class Reader:
    """Goes over one lane's good records above its position, and above ``after``.

    Args:
        give_up: told of a segment that cannot be read, by its index, and why; it has to go.
    """

    def __init__(
        self,
        files: "Files",
        lane: Lane,
        after: int,
        give_up: "Callable[[Lane, int, OSError], None]",
    ) -> None:
        self.index = 0
        self.start = self.at = lane.at
        self.seq = 0
        """The number of the record it is at; 0 before the first and behind the last."""
        self.length = 0
        self.gaps = 0
        """Stretches of bytes that were skipped."""
        self.torn = False
        """The last segment does not end with a good record."""
        self._files = files
        self._give_up = give_up
        self.lane = lane
        self._last = max(lane.position, after)
        self._file: Any = None
        segment, at, seq = lane.read
        if after >= seq > lane.position:
            for i in range(len(lane.segments)):
                if lane.segments[i][0] == segment:
                    self.index, self.at = i, at

    def step(self) -> bool:
        """Go to the next record; False behind the last."""
        segments = self.lane.segments
        while self.index < len(segments):
            first, size = segments[self.index][:2]
            try:
                if self._file is None:
                    self._file = self._files.open(self.lane.path(first), "rb")
                found = _find(self._file, first, self.at, size)
            except OSError as problem:
                self._set_aside(problem)
                continue
            self.torn = found[0] > self.at
            self.gaps += self.torn
            self.start, self.seq, self.length = found
            self.at = self.start + HEAD + self.length
            if not self.seq:
                self.close()
                self.index += 1
                self.at = 0
            elif self.seq > self._last:
                self._last = self.seq
                return True
        self.seq = 0
        return False

    def body(self) -> "bytes | None":
        """The body of the record it is at; None if it can not be read any more."""
        try:
            self._file.seek(self.start + HEAD)
            body: bytes = self._file.read(self.length)
        except OSError as problem:
            self._set_aside(problem)
            return None
        self.lane.read = (self.lane.segments[self.index][0], self.at, self.seq)
        return body

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _set_aside(self, problem: OSError) -> None:
        self._give_up(self.lane, self.index, problem)
        self.close()
        self.at = 0


def _seed(first: int, at: int, head: bytes) -> int:
    """The CRC of a header at its place, which the body continues."""
    return binascii.crc32(head, binascii.crc32(struct.pack("<QI", first, at)))


def _find(file: "Any", first: int, at: int, end: int) -> "tuple[int, int, int]":
    """Place, number and length of the first good record from ``at`` on; (end, 0, 0) if there
    is none."""
    while at + HEAD <= end:
        file.seek(at)
        head = file.read(HEAD)
        if len(head) < HEAD:
            break
        if head[:2] == _MAGIC:
            _, length, seq = struct.unpack(_HEADER, head[:14])
            if seq >= first and length <= end - at - HEAD:
                crc = _seed(first, at, head[:14])
                left = length
                while left:
                    chunk = file.read(min(left, _CHUNK))
                    if not chunk:
                        break
                    crc = binascii.crc32(chunk, crc)
                    left -= len(chunk)
                if not left and struct.pack("<I", crc) == head[14:]:
                    return at, seq, length
        at += 1
        while at + HEAD <= end:
            file.seek(at)
            chunk = file.read(_CHUNK)
            hit = chunk.find(_MAGIC)
            if hit >= 0:
                at += hit
                break
            if len(chunk) < 2:
                return end, 0, 0
            at += len(chunk) - 1
    return end, 0, 0
