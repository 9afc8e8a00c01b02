"""Keeps results and telemetry on disk while the link is down, through loss of power.

A record is kept once :meth:`Spool.put` has returned its number, and until :meth:`Spool.done` is
told that the broker has it. Numbers grow and are never given twice by one spool, whose ``id`` is
chosen anew if its folder is lost: ``id`` and number together name a record for good.

Records that are done may come again after a power cut: fewer than 64, as the position is not
written after each, and those that are newer than one that is not done. The broker tells them by
their numbers, and results by compare-and-set.

On disk: ``r…`` and ``t…`` are segments of results and of telemetry, see ``edge.segments``, and
``state`` is what ``edge.position`` says.

A power cut may tear what was written since the last sync; what was synced it must leave alone.
"""

from edge import port, position
from edge.files import FULL, Files
from edge.segments import HEAD, Lane, Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RESULT = "r"
"""Kept until it is done. A new one is refused when there is room for no more."""
TELEMETRY = "t"
"""The oldest makes room for whatever needs it."""

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
        """The last failure of the file system that was survived; empty once a record is kept
        without one."""
        self._files = files or Files()
        self._segment_bytes = min(segment_bytes, max_bytes // 8)
        self._lanes = {RESULT: Lane(self.folder, RESULT), TELEMETRY: Lane(self.folder, TELEMETRY)}
        self._next = 1
        self._reserved = 0
        self._unsaved = 0
        self._unlock: Callable[[], None] | None = None

    def open(self) -> None:
        """Find what is there, and make sure that it can be added to.

        Whatever a power cut has left is dealt with.

        Raises:
            SpoolError: the folder can not be read or written, or another process has it. A full
                disk is not an error.
        """
        try:
            self._files.make_all(self.folder)
            if not port.MICRO and self._unlock is None:
                self._unlock = self._files.lock(self.folder)
                if self._unlock is None:
                    raise SpoolError(
                        f"spool folder {self.folder}: another process uses it: give each agent a "
                        "folder of its own"
                    )
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
        need = HEAD + len(body)
        if self.size + need > self.max_bytes:
            for other in self._lanes.values():
                self._settle(other, True)
        telemetry = self._lanes[TELEMETRY]
        problem = ""
        while self.size - telemetry.size + need <= self.max_bytes:
            if self.size + need <= self.max_bytes:
                try:
                    seq = self._append(lane, body)
                    self.problem = problem
                    return seq
                except OSError as error:
                    self._survived(error)
                    problem = self.problem
                    if error.errno not in FULL:
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
        readers = [self._reader(lane, after) for lane in lanes]
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
        if not port.MICRO and self._unlock is not None:
            self._unlock()
            self._unlock = None

    # the inside

    def _recover(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes = {RESULT: Lane(self.folder, RESULT), TELEMETRY: Lane(self.folder, TELEMETRY)}
        known = position.load(self._files, self.folder, self._survived)
        if known is not None:
            self.id, self._reserved = known[:2]
            self._lanes[RESULT].position, self._lanes[TELEMETRY].position = known[2:]
        found: list[tuple[int, str]] = []
        for name in self._files.names(self.folder):
            kind = name[0]
            try:
                first = int(name[1:], 16)
            except ValueError:
                continue  # not ours
            if kind in self._lanes and self._lanes[kind].path(first) == self.folder + "/" + name:
                found.append((first, kind))
        highest = 0
        for first, kind in sorted(found):
            size = self._files.size(self._lanes[kind].path(first))
            self._lanes[kind].segments.append([first, size, 0, 0])
            highest = first
        for lane in self._lanes.values():
            reader = self._reader(lane, 0)
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
        if known is None:
            self.id = port.random_bytes(4).hex()
        # What is below the limit may have been given, though nothing here has it any more.
        self._next = self._reserved = max(self._reserved, highest + 1)

    def _is_done(self, reader: Reader) -> bool:
        """Go to the next record; False if that is not done, and behind the last."""
        return reader.step() and reader.seq in reader.lane.done

    def _save(self) -> None:
        """Reserve numbers and save the positions."""
        reserved = self._next + _BLOCK
        results, telemetry = [self._lanes[kind].position for kind in (RESULT, TELEMETRY)]
        position.save(self._files, self.folder, self.id, reserved, results, telemetry)
        self._reserved = reserved
        self._unsaved = 0

    def _try_save(self) -> None:
        try:
            self._save()
        except OSError as problem:
            self._survived(problem)  # some more records may come again

    def _append(self, lane: Lane, body: bytes) -> int:
        if not self.id:
            raise SpoolError(f"spool folder {self.folder}: open() it before put()")
        if self._next >= self._reserved:
            self._save()
        seq = self._next
        # Given, whatever comes of it: half a record with this number may be on the disk.
        self._next += 1
        need = HEAD + len(body)
        segments = lane.segments
        if lane.sealed or not segments or segments[-1][1] + need > self._segment_bytes:
            lane.close()
            lane.sealed = True
            self._settle(lane, False)
            segments.append([seq, 0, 0, 0])
            lane.sealed = False
        try:
            lane.append(self._files, seq, body)
        except OSError:
            if not segments[-1][1]:
                self._remove(lane, len(segments) - 1)
            raise
        return seq

    def _settle(self, lane: Lane, whole: bool) -> None:
        """Move the position over what is done, and remove segments that are done. The last one
        stays unless ``whole``: one that comes and goes with each record wears the flash."""
        reader = self._reader(lane, 0)
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
                reader = self._reader(lane, 0)
                reader.index, reader.at = index, 0
                while self._is_done(reader) and reader.index == index:
                    pass
                reader.close()
                if reader.index > index:
                    self.corrupt += self._remove(lane, index)

    def _remove(self, lane: Lane, index: int, file: bool = True) -> int:
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
                self._files.remove(lane.path(first))
            except OSError as problem:
                self._survived(problem)  # it will be found again by open()
        return max(0, lost)

    def _survived(self, problem: OSError) -> None:
        self.problem = f"{self.folder}: {problem}"

    def _reader(self, lane: Lane, after: int) -> Reader:
        return Reader(self._files, lane, after, self._set_aside)

    def _set_aside(self, lane: Lane, index: int, problem: OSError) -> None:
        """Leave a file that can not be read out for this run: another may be able to."""
        self._survived(problem)
        self.corrupt += 1
        self._remove(lane, index, False)
