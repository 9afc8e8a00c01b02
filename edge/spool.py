"""Keeps results and telemetry on disk while the link is down, through loss of power.

A record is kept once :meth:`Spool.put` has returned its number, and until :meth:`Spool.done` is
told that the broker has it. Numbers grow and are never given twice by one spool, whose ``id`` is
chosen anew if its folder is lost: ``id`` and number together name a record for good.

Records that are done may come again after a power cut: fewer than 64, as the position is not
written after each, and those that are newer than one that is not done. The broker tells them by
their numbers, and results by compare-and-set.

On disk: ``r…`` and ``t…`` are segments of results and of telemetry, named by their first number.
They are only appended to, and removed whole. A record is a header (magic, length, number, CRC)
and its body. The CRC covers where the record is, too, so that neither old blocks of a disk nor
a copy of a record inside a body can pass for one. What is torn or damaged is skipped: reading
goes on at the next good record. ``state`` is replaced; it holds the id, a limit below which
numbers may have been given, and up to where each kind is done.

A power cut may tear what was written since the last sync; what was synced it must leave alone.
"""

import binascii
import os
import struct

from edge.files import FULL, MISSING, Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RESULT = "r"
"""Kept until it is done. A new one is refused when there is room for no more."""
TELEMETRY = "t"
"""The oldest makes room for whatever needs it."""

_MAGIC = b"\xf1\x5b"
_HEADER = "<2sIQ"
_HEAD = 18
_STATE = "<4sQQQ"
_CHUNK = 512
_BLOCK = 1024
"""Numbers that one write of the state reserves."""
_SAVE = 64
"""Records that are done before the position is saved."""


class SpoolError(Exception):
    """The spool's folder can not be used; says which, why, and what to do."""


class Spool:
    """Records of two kinds in one folder, which no other process may use.

    Every call lasts as long as the disk takes.

    Args:
        folder: made if it is missing.
        max_bytes: what the segments may add up to.
        segment_bytes: a segment that would outgrow this is closed and another one begun; a
            record that is larger gets one of its own. At most an eighth of ``max_bytes``.
            Telemetry is dropped a segment at a time. Higher = fewer files, more lost at a time.
        files: the file system; None is this machine's.
    """

    def __init__(
        self,
        folder: str,
        max_bytes: int = 262144,
        segment_bytes: int = 16384,
        files: "Files | None" = None,
    ) -> None:
        self.folder = folder.rstrip("/") or folder
        self.max_bytes = max_bytes
        self.id = ""
        """Eight hex digits that tell this spool from others."""
        self.dropped = 0
        """Telemetry records that were given up for want of room."""
        self.refused = 0
        """Results that were not taken."""
        self.corrupt = 0
        """Stretches of damaged bytes that were skipped. A torn last write is one."""
        self.problem = ""
        """The last failure of the file system that was survived."""
        self._files = files or Files()
        self._segment_bytes = min(segment_bytes, max_bytes // 8)
        self._lanes = {RESULT: _Lane(RESULT), TELEMETRY: _Lane(TELEMETRY)}
        self._next = 1
        self._reserved = 0
        self._unsaved = 0

    def open(self) -> None:
        """Find what is there, and make sure that it can be added to.

        Whatever a power cut has left is dealt with.

        Raises:
            SpoolError: the folder can not be read or written. A full disk is not an error.
        """
        try:
            self._files.make_all(self.folder)
            self._recover()
            try:
                self._save()
            except OSError as problem:
                if problem.errno not in FULL:
                    raise
                self._survived(problem)  # put() tries again
        except OSError as problem:
            raise SpoolError(
                f"spool folder {self.folder}: it must be readable and writable, but: {problem}; "
                "name another folder or give this process the right to write there"
            ) from None

    def put(self, kind: str, body: bytes) -> int:
        """Keep a record; return its number, or 0 if it was not kept.

        It survives a power cut once this has returned. Telemetry that finds no room is counted
        as dropped, a result as refused.
        """
        lane = self._lanes[kind]
        need = _HEAD + len(body)
        if self.size + need > self.max_bytes:
            for other in self._lanes.values():
                self._settle(other, True)
        telemetry = self._lanes[TELEMETRY]
        while self.size - telemetry.size + need <= self.max_bytes:
            if self.size + need <= self.max_bytes:
                try:
                    return self._append(lane, body)
                except OSError as problem:
                    self._survived(problem)
                    if problem.errno not in FULL:
                        break
            if not telemetry.segments:
                break
            self.dropped += self._remove(telemetry, 0)
        if kind == TELEMETRY:
            self.dropped += 1
        else:
            self.refused += 1
        return 0

    def first(
        self, records: int = 16, limit: int = 8192, after: int = 0, kind: str = ""
    ) -> "list[tuple[int, str, bytes]]":
        """The oldest records that are not done, as (number, kind, body) in order of number.

        Args:
            records: at most this many.
            limit: bytes of their bodies; the first one comes even if it alone is larger.
            after: only higher numbers, for who has asked for the others already.
            kind: only these; empty for both.
        """
        found: list[tuple[int, str, bytes]] = []
        lanes = [self._lanes[kind]] if kind else list(self._lanes.values())
        readers = [_Reader(self, lane, after) for lane in lanes]
        try:
            for reader in readers:
                while self._is_done(reader):
                    pass
            while len(found) < records:
                reader = readers[0]
                if not reader.seq or 0 < readers[-1].seq < reader.seq:
                    reader = readers[-1]
                if not reader.seq or (found and reader.length > limit):
                    break
                seq = reader.seq
                body = reader.body()
                if body is not None:
                    found.append((seq, reader.lane.kind, body))
                    limit -= len(body)
                while self._is_done(reader):
                    pass
        finally:
            for reader in readers:
                reader.close()
        return found

    def done(self, seq: int, kind: str) -> None:
        """The broker has this record: forget it. Any order will do, and telling it twice."""
        lane = self._lanes[kind]
        if seq > lane.position and any(s[0] <= seq <= s[3] for s in lane.segments):
            lane.done.add(seq)
            count = len(lane.done)
            if count >= lane.records or count % _SAVE == 0:
                self._settle(lane, False)
                # Telemetry that is drained must not come back: others that were never here may
                # be stored behind it, and by the last one the broker's part is known.
                drained = kind == TELEMETRY and self._unsaved and not lane.records
                if self._unsaved >= _SAVE or drained:
                    self._try_save()

    def pending(self, kind: str) -> int:
        """How many records of a kind are kept and not done."""
        lane = self._lanes[kind]
        return max(0, lane.records - len(lane.done))

    def __len__(self) -> int:
        return self.pending(RESULT) + self.pending(TELEMETRY)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum([lane.size for lane in self._lanes.values()])

    def close(self) -> None:
        """Save the position. :meth:`open` opens it again."""
        for lane in self._lanes.values():
            self._settle(lane, True)
            lane.close()
        if self._unsaved:
            self._try_save()

    # the inside

    def _recover(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes = {RESULT: _Lane(RESULT), TELEMETRY: _Lane(TELEMETRY)}
        known = self._load()
        found: list[tuple[int, str]] = []
        for name in self._files.names(self.folder):
            kind = name[0]
            try:
                first = int(name[1:], 16)
            except ValueError:
                continue  # not ours
            if kind in self._lanes and self._path(kind, first) == self.folder + "/" + name:
                found.append((first, kind))
        highest = 0
        for first, kind in sorted(found):
            size = self._files.size(self._path(kind, first))
            self._lanes[kind].segments.append([first, size, 0, 0])
            highest = first
        for lane in self._lanes.values():
            reader = _Reader(self, lane, 0)
            while reader.step():
                segment = lane.segments[reader.index]
                segment[2] += 1
                segment[3] = reader.seq
                highest = max(highest, reader.seq)
            reader.close()
            self.corrupt += reader.gaps
            # A torn record must not be followed: its missing end could be what follows.
            lane.sealed = lane.sealed or reader.torn
            for i in range(len(lane.segments) - 1, -1, -1):
                if not lane.segments[i][2]:
                    self._remove(lane, i)
        if not known:
            self.id = binascii.hexlify(_random()).decode()
        # What is below the limit may have been given, though nothing here has it any more.
        self._next = self._reserved = max(self._reserved, highest + 1)

    def _is_done(self, reader: "_Reader") -> bool:
        """Go to the next record; False if that is not done, and behind the last."""
        return reader.step() and reader.seq in reader.lane.done

    def _load(self) -> bool:
        """Read the state; False if there is none that can be read."""
        for name in ("/state.tmp", "/state"):
            try:
                file = self._files.open(self.folder + name, "rb")
                try:
                    data = file.read(64)
                finally:
                    file.close()
            except OSError as problem:
                if problem.errno not in MISSING:
                    self._survived(problem)
                continue
            if len(data) == 32 and struct.pack("<I", binascii.crc32(data[:28])) == data[28:]:
                ident, self._reserved, results, telemetry = struct.unpack(_STATE, data[:28])
                self.id = binascii.hexlify(ident).decode()
                self._lanes[RESULT].position = results
                self._lanes[TELEMETRY].position = telemetry
                return True
        return False

    def _save(self) -> None:
        """Reserve numbers and save the positions."""
        reserved = self._next + _BLOCK
        ident = binascii.unhexlify(self.id)
        results, telemetry = [self._lanes[kind].position for kind in (RESULT, TELEMETRY)]
        data = struct.pack(_STATE, ident, reserved, results, telemetry)
        data += struct.pack("<I", binascii.crc32(data))
        self._files.replace(self.folder + "/state", data)
        self._reserved = reserved
        self._unsaved = 0

    def _try_save(self) -> None:
        try:
            self._save()
        except OSError as problem:
            self._survived(problem)  # some more records may come again

    def _append(self, lane: "_Lane", body: bytes) -> int:
        if not self.id:
            raise SpoolError(f"spool folder {self.folder}: open() it before put()")
        if self._next >= self._reserved:
            self._save()
        seq = self._next
        # Given, whatever comes of it: half a record with this number may be on the disk.
        self._next += 1
        need = _HEAD + len(body)
        segments = lane.segments
        if lane.sealed or not segments or segments[-1][1] + need > self._segment_bytes:
            lane.close()
            lane.sealed = True
            self._settle(lane, False)
            segments.append([seq, 0, 0, 0])
            lane.sealed = False
        segment = segments[-1]
        head = struct.pack(_HEADER, _MAGIC, len(body), seq)
        crc = binascii.crc32(body, _seed(segment[0], segment[1], head))
        path = self._path(lane.kind, segment[0])
        try:
            opened = lane.file is None
            if opened:
                lane.file = self._files.open(path, "ab")
            self._files.write(lane.file, head + struct.pack("<I", crc))
            self._files.write(lane.file, body)
            self._files.sync(lane.file)
            if opened:
                # Also when the file was there before: its name may not have been synced.
                self._files.sync_folder(self.folder)
        except OSError:
            # What the file ends with now, nobody knows: nothing is to follow it.
            lane.close()
            lane.sealed = True
            if not segment[1]:
                self._remove(lane, len(segments) - 1)
            raise
        segment[1] += need
        segment[2] += 1
        segment[3] = seq
        return seq

    def _settle(self, lane: "_Lane", whole: bool) -> None:
        """Move the position over what is done, and remove segments that are done. The last one
        stays unless ``whole``: one that comes and goes with each record wears the flash."""
        reader = _Reader(self, lane, 0)
        while self._is_done(reader):
            lane.done.remove(reader.seq)
            lane.segments[reader.index][2] -= 1
            lane.position = reader.seq
            self._unsaved += 1
        reader.close()
        passed, at = reader.index, reader.start
        if not reader.seq and lane.segments and not (whole or lane.sealed):
            passed, at = len(lane.segments) - 1, lane.segments[-1][1]
        for _ in range(passed):
            # Records that could be read once and can not any more.
            self.corrupt += self._remove(lane, 0)
        if lane.segments:
            lane.at = at
        # One record that will not go must not hold all that came after it.
        for index in range(len(lane.segments) - 2, 0, -1):
            first, _, records, last = lane.segments[index]
            if sum([first <= seq <= last for seq in lane.done]) >= records:
                # Numbers of the other kind may be among them: look.
                reader = _Reader(self, lane, 0)
                reader.index, reader.at = index, 0
                while self._is_done(reader) and reader.index == index:
                    pass
                reader.close()
                if reader.index > index:
                    self.corrupt += self._remove(lane, index)

    def _remove(self, lane: "_Lane", index: int, file: bool = True) -> int:
        """Give up a segment, and its file; return how many of its records were not done."""
        segments = lane.segments
        if index == len(segments) - 1:
            # Its file may stay or come back: what follows must not go into an older one.
            lane.close()
            lane.sealed = True
        first, _, lost, last = segments.pop(index)
        for seq in [seq for seq in lane.done if first <= seq <= last]:
            lane.done.remove(seq)
            lost -= 1
        if not index:
            lane.at = 0
        if file:
            try:
                self._files.remove(self._path(lane.kind, first))
            except OSError as problem:
                self._survived(problem)  # it will be found again by open()
        return max(0, lost)

    def _survived(self, problem: OSError) -> None:
        self.problem = f"{self.folder}: {problem}"

    def _path(self, kind: str, first: int) -> str:
        return f"{self.folder}/{kind}{first:08x}"


class _Lane:
    """One kind's segments."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
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
        return sum([segment[1] for segment in self.segments])

    @property
    def records(self) -> int:
        return sum([segment[2] for segment in self.segments])

    def close(self) -> None:
        file, self.file = self.file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                # What was acknowledged was synced; the rest of the file is not to be trusted.
                self.sealed = True


class _Reader:
    """Goes over one lane's good records above its position, and above ``after``."""

    def __init__(self, spool: Spool, lane: _Lane, after: int) -> None:
        self.index = 0
        self.start = self.at = lane.at
        self.seq = 0
        """The number of the record it is at; 0 before the first and behind the last."""
        self.length = 0
        self.gaps = 0
        """Stretches of bytes that were skipped."""
        self.torn = False
        """The last segment does not end with a good record."""
        self._spool = spool
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
                    path = self._spool._path(self.lane.kind, first)
                    self._file = self._spool._files.open(path, "rb")
                found = _find(self._file, first, self.at, size)
            except OSError as problem:
                self._set_aside(problem)
                continue
            self.torn = found[0] > self.at
            self.gaps += self.torn
            self.start, self.seq, self.length = found
            self.at = self.start + _HEAD + self.length
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
            self._file.seek(self.start + _HEAD)
            body: bytes = self._file.read(self.length)
        except OSError as problem:
            self._set_aside(problem)
            return None
        self.lane.read = (self.lane.segments[self.index][0], self.at, self.seq)
        return body

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _set_aside(self, problem: OSError) -> None:
        """Leave a file that can not be read out for this run: another may be able to."""
        self._spool._survived(problem)
        self._spool.corrupt += 1
        self._spool._remove(self.lane, self.index, False)
        self.close()
        self.at = 0


def _seed(first: int, at: int, head: bytes) -> int:
    """The CRC of a header at its place, which the body continues."""
    return binascii.crc32(head, binascii.crc32(struct.pack("<QI", first, at)))


def _find(file: "Any", first: int, at: int, end: int) -> "tuple[int, int, int]":
    """Place, number and length of the first good record from ``at`` on; (end, 0, 0) if there
    is none."""
    while at + _HEAD <= end:
        file.seek(at)
        head = file.read(_HEAD)
        if len(head) < _HEAD:
            break
        if head[:2] == _MAGIC:
            _, length, seq = struct.unpack(_HEADER, head[:14])
            if seq >= first and length <= end - at - _HEAD:
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
        while at + _HEAD <= end:
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


def _random() -> bytes:
    try:
        return os.urandom(4)
    except AttributeError:  # some ports have only this one
        import random

        return random.getrandbits(32).to_bytes(4, "big")
