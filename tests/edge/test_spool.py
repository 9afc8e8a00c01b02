"""The spool: order, room, numbers, damage, and what it says when the disk will not do."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest

from edge.files import Files
from edge.spool import RESULT, TELEMETRY, Spool, SpoolError
from tests.edge.disk import Disk

FOLDER = "./spool"
HEAD = 18
"""Bytes of a record beside its body."""


@pytest.fixture
def disk() -> Disk:
    return Disk()


def opened(disk: Disk, max_bytes: int = 4000, segment: int = 400) -> Spool:
    spool = Spool(FOLDER, max_bytes, segment, disk)
    spool.open()
    return spool


def everything(spool: Spool) -> list[tuple[int, str, bytes]]:
    return spool.first(10**6, 10**9)


def bodies(spool: Spool) -> list[bytes]:
    return [body for _, _, body in everything(spool)]


# order


def test_both_kinds_come_in_the_order_of_their_numbers(disk: Disk) -> None:
    spool = opened(disk)
    kept = []
    for number in range(60):
        kind = TELEMETRY if number % 3 else RESULT
        kept.append((spool.put(kind, b"%d" % number), kind, b"%d" % number))
    assert everything(spool) == kept
    assert [seq for seq, _, _ in kept] == list(range(kept[0][0], kept[0][0] + 60))
    assert (spool.pending(RESULT), spool.pending(TELEMETRY), len(spool)) == (20, 40, 60)
    assert everything(opened(disk)) == kept


@pytest.mark.parametrize(
    ("records", "limit", "expected"),
    [
        (3, 1000, 3),
        (100, 1000, 10),
        (100, 35, 3),  # bodies of 10 bytes each
        (100, 30, 3),
        (100, 29, 2),
        (100, 1, 1),  # one comes however large it is
        (0, 1000, 0),
    ],
)
def test_first_is_bounded(disk: Disk, records: int, limit: int, expected: int) -> None:
    spool = opened(disk)
    for number in range(10):
        spool.put(RESULT if number % 2 else TELEMETRY, b"%010d" % number)
    assert bodies(spool)[:expected] == [
        body for _, _, body in spool.first(records=records, limit=limit)
    ]
    assert len(spool.first(records=records, limit=limit)) == expected


def test_after_goes_on_where_the_last_batch_ended(disk: Disk) -> None:
    spool = opened(disk)
    for number in range(50):
        spool.put(RESULT if number % 4 else TELEMETRY, b"%d" % number)
    seen: list[bytes] = []
    last = 0
    while batch := spool.first(7, 10**6, last):
        last = batch[-1][0]
        seen += [body for _, _, body in batch]
        for seq, kind, _ in batch[::2]:  # some are answered in between
            spool.done(seq, kind)
    assert seen == [b"%d" % number for number in range(50)]
    assert spool.put(RESULT, b"new") > last
    assert [body for _, _, body in spool.first(after=last)] == [b"new"]
    # Jumping back and forth is slower, not wrong.
    middle = everything(spool)[10][0]
    assert spool.first(1, after=middle)[0][0] > middle
    assert spool.first(1)[0][0] < middle


def test_reading_on_does_not_begin_at_the_beginning(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(disk, 40000, 5000)
    for number in range(100):
        spool.put(RESULT, b"%d" % number)
    last = spool.first(90, 10**6)[-1][0]
    reads: list[int] = []
    monkeypatch.setattr(disk, "reading", lambda: reads.append(1))
    assert len(spool.first(1, 10**6, last)) == 1
    assert len(reads) < 12


# done


def test_done_in_any_order_twice_or_of_nothing(disk: Disk) -> None:
    spool = opened(disk)
    seqs = [spool.put(RESULT, b"%d" % number) for number in range(100)]
    rng = random.Random(1)
    left = dict(zip(seqs, range(100), strict=True))
    for seq in rng.sample(seqs, 100):
        spool.done(seq, RESULT)
        spool.done(seq, RESULT)
        spool.done(seq, TELEMETRY)
        spool.done(10**9, RESULT)
        spool.done(0, RESULT)
        del left[seq]
        assert len(spool) == len(left)
        assert [seq for seq, _, _ in everything(spool)] == list(left)
    assert spool.size <= 400
    spool.close()
    assert disk.names(FOLDER) == ["state"]
    assert opened(disk).first() == []


def test_a_segment_goes_when_all_of_it_is_done(disk: Disk) -> None:
    spool = opened(disk)
    for number in range(60):
        spool.put(TELEMETRY, b"%010d" % number)
    files = len(disk.files)
    assert files > 4
    sizes = []
    for seq, kind, _ in everything(spool):
        spool.done(seq, kind)
        sizes.append(len(disk.files))
    # Looked at each 64 done, or when all are: a segment at a time would cost a read for each.
    assert sizes[-1] == 2  # the state, and the last segment for what comes next


def test_record_that_will_not_go_does_not_hold_the_others(disk: Disk) -> None:
    spool = opened(disk)
    stuck = spool.put(RESULT, b"stuck")
    for number in range(500):
        seq = spool.put(RESULT, b"%010d" % number)
        assert seq, spool.size
        spool.done(seq, RESULT)
    assert everything(spool) == [(stuck, RESULT, b"stuck")]
    assert spool.refused == 0
    assert spool.corrupt == 0


def test_done_of_the_wrong_kind_forgets_nothing(disk: Disk) -> None:
    spool = opened(disk, 40000, 400)
    for number in range(600):
        spool.put(RESULT if number % 2 else TELEMETRY, b"%08d" % number)
    wanted = everything(spool)
    left = []
    for at, (seq, kind, body) in enumerate(wanted):
        if kind == TELEMETRY or at % 20 != 1:
            spool.done(seq, RESULT)
        else:
            left.append((seq, kind, body))
    assert [record for record in everything(spool) if record[1] == RESULT] == left
    assert spool.pending(TELEMETRY) == 300


def test_position_is_written_seldom(disk: Disk) -> None:
    spool = opened(disk, 100000, 50000)
    for number in range(1000):
        spool.put(TELEMETRY, b"%d" % number)
    before = disk.operations
    for seq, kind, _ in everything(spool):
        spool.done(seq, kind)
    # One write of the state is five operations.
    assert disk.operations - before <= 1000 // 64 * 5 + 5 + 5  # and one when it is drained


def test_a_record_that_comes_and_goes_does_not_make_and_remove_files(disk: Disk) -> None:
    spool = opened(disk, 100000, 50000)
    spool.done(spool.put(RESULT, b"first"), RESULT)
    before = disk.operations
    for _ in range(32):
        spool.done(spool.put(RESULT, b"x"), RESULT)
    assert len(spool) == 0
    assert disk.operations - before == 32 * 3  # header, body, sync


def test_close_saves_the_position(disk: Disk) -> None:
    spool = opened(disk)
    for number in range(20):
        spool.put(RESULT, b"%d" % number)
    for seq, kind, _ in spool.first(7):
        spool.done(seq, kind)
    spool.close()
    again = opened(disk)
    assert bodies(again) == [b"%d" % number for number in range(7, 20)]
    assert again.pending(RESULT) == 13


# numbers


def test_numbers_are_never_given_again(disk: Disk) -> None:
    seen: set[int] = set()
    ids = set()
    for turn in range(12):
        spool = opened(disk)
        ids.add(spool.id)
        for number in range(300 if turn == 5 else 3):
            seq = spool.put(RESULT, b"%d" % number)
            assert seq > max(seen, default=0)
            seen.add(seq)
            spool.done(seq, RESULT)
        if turn % 2:
            for seq, kind, _ in everything(spool):
                spool.done(seq, kind)  # those of the turn before, which did not close
            spool.close()  # no segment is left to tell the numbers
            assert disk.names(FOLDER) == ["state"]
    assert len(ids) == 1


def test_more_numbers_than_one_reservation(disk: Disk) -> None:
    spool = opened(disk, 10**6, 10**5)
    seqs = [spool.put(TELEMETRY, b"") for _ in range(2100)]
    assert seqs == list(range(seqs[0], seqs[0] + 2100))
    again = opened(disk, 10**6, 10**5)
    assert again.put(TELEMETRY, b"") > seqs[-1]


def test_lost_state_makes_another_spool_of_what_is_left(disk: Disk) -> None:
    spool = opened(disk)
    last = [spool.put(RESULT, b"%d" % number) for number in range(5)][-1]
    disk.remove(FOLDER + "/state")
    again = opened(disk)
    assert again.id != spool.id
    assert len(again.id) == 8
    assert bodies(again) == [b"%d" % number for number in range(5)]
    assert again.put(RESULT, b"new") > last
    assert opened(disk).id == again.id


def test_renaming_that_removes_first_may_leave_the_temporary_file_alone(disk: Disk) -> None:
    """FAT: what a cut between the two leaves is used."""
    spool = opened(disk)
    seq = spool.put(RESULT, b"x")
    spool.done(seq, RESULT)
    spool.close()
    disk.rename(FOLDER + "/state", FOLDER + "/state.tmp")
    again = opened(disk)
    assert again.id == spool.id
    assert again.put(RESULT, b"y") > seq
    assert again.pending(RESULT) == 1


# room


def test_oldest_telemetry_makes_room_and_is_counted(disk: Disk) -> None:
    spool = opened(disk)
    kept = []
    for number in range(500):
        kept.append(spool.put(TELEMETRY if number % 10 else RESULT, b"%010d" % number))
        assert kept[-1]
        assert spool.size <= 4000
        assert sum(len(node.now) for node in disk.files.values()) <= 4000 + 32
    left = everything(spool)
    results = [seq for seq, kind, _ in left if kind == RESULT]
    assert results == kept[::10]
    telemetry = [seq for seq, kind, _ in left if kind == TELEMETRY]
    given = [seq for number, seq in enumerate(kept) if number % 10]
    assert telemetry == given[-len(telemetry) :]
    assert spool.dropped == len(given) - len(telemetry)
    assert spool.refused == 0
    assert len(telemetry) * (HEAD + 10) >= 4000 - 2 * 400 - len(results) * (HEAD + 10)


def test_results_drive_out_all_telemetry_and_then_are_refused(disk: Disk) -> None:
    spool = opened(disk)
    for number in range(50):
        assert spool.put(TELEMETRY, b"%010d" % number)
    kept = 0
    while spool.put(RESULT, b"r" * 100):
        kept += 1
    assert kept >= (4000 - 400) // (HEAD + 100)
    assert spool.pending(TELEMETRY) == 0
    assert (spool.dropped, spool.refused) == (50, 1)
    assert spool.put(TELEMETRY, b"t" * 100) == 0
    assert spool.dropped == 51
    assert spool.pending(RESULT) == kept
    # Room again as soon as some are done.
    for seq, kind, _ in spool.first(4):
        spool.done(seq, kind)
    assert spool.put(RESULT, b"r" * 100)
    assert opened(disk).pending(RESULT) >= kept - 3


def test_done_telemetry_is_not_counted_as_dropped(disk: Disk) -> None:
    spool = opened(disk)
    for number in range(40):
        spool.put(TELEMETRY, b"%010d" % number)
    for seq, kind, _ in everything(spool)[1:31]:  # all but the oldest
        spool.done(seq, kind)
    while spool.put(RESULT, b"r" * 100):
        pass
    assert spool.dropped == 10


@pytest.mark.parametrize("kind", [RESULT, TELEMETRY])
def test_record_larger_than_a_segment_gets_one_of_its_own(disk: Disk, kind: str) -> None:
    spool = opened(disk)
    wanted = [b"small", b"L" * 3000, b"after"]
    for body in wanted:
        assert spool.put(kind, body)
    assert bodies(spool) == wanted
    assert bodies(opened(disk)) == wanted
    assert len([name for name in disk.names(FOLDER) if name[0] == kind]) == 3


def test_record_that_can_never_fit_costs_nothing_else(disk: Disk) -> None:
    spool = opened(disk)
    spool.put(TELEMETRY, b"stays")
    assert spool.put(RESULT, b"x" * 4000) == 0
    assert spool.put(TELEMETRY, b"x" * 4000) == 0
    assert (spool.refused, spool.dropped) == (1, 1)
    assert bodies(spool) == [b"stays"]
    assert spool.put(RESULT, b"x" * (4000 - HEAD))  # to the last byte
    assert spool.size == 4000


def test_empty_bodies_and_all_bytes(disk: Disk) -> None:
    wanted = [b"", bytes(range(256)), b"\xf1\x5b" * 50, b""]
    spool = opened(disk)
    for body in wanted:
        assert spool.put(RESULT, body)
    assert bodies(spool) == wanted
    assert bodies(opened(disk)) == wanted


def test_open_files_stay_few(disk: Disk) -> None:
    spool = opened(disk)
    for number in range(300):
        spool.put(TELEMETRY if number % 2 else RESULT, b"x")
        spool.first()
        assert disk.open_files <= 2
    spool.close()
    assert disk.open_files == 0


# damage


def test_any_flipped_byte_costs_one_record_at_most(disk: Disk) -> None:
    spool = opened(disk)
    rng = random.Random(3)
    wanted: list[tuple[str, bytes]] = []
    for number in range(24):
        kind = rng.choice([RESULT, TELEMETRY])
        # A body may look like records, its own or others'.
        other = next(iter(disk.files.values())).now if number % 5 == 0 else b""
        body = b"%d;" % number + rng.randbytes(rng.randrange(20)) + bytes(other)[:60]
        assert spool.put(kind, body)
        wanted.append((kind, body))
    images = {path: bytes(node.now) for path, node in disk.files.items()}
    for path, image in images.items():
        if path.endswith("state"):
            continue
        for at in range(len(image)):
            for value in (image[at] ^ 1 << rng.randrange(8), 0xF1, 0x5B):
                damaged = Disk()
                damaged.folders.add(FOLDER)
                for name, content in images.items():
                    damaged.open(name, "ab").write(content)
                damaged.files[path].now[at] = value
                again = opened(damaged)
                found = [(kind, body) for _, kind, body in everything(again)]
                assert all(record in wanted for record in found)
                changed = value != image[at]
                assert len(found) == len(wanted) - changed
                assert again.corrupt == changed
                again.put(RESULT, b"new")
                assert bodies(again)[-1] == b"new"


def test_any_flipped_byte_of_the_state_makes_it_another_spool(disk: Disk) -> None:
    spool = opened(disk)
    seq = spool.put(RESULT, b"x")
    path = FOLDER + "/state"
    for at in range(len(disk.files[path].now)):
        disk.files[path].now[at] ^= 4
        again = opened(disk)
        assert again.id != spool.id
        assert bodies(again) == [b"x"]
        assert again._next > seq
        spool = again


@pytest.mark.parametrize("seed", range(20))
def test_nothing_but_what_was_put_is_read_from_rubbish(disk: Disk, seed: int) -> None:
    """Files cut anywhere, rubbish in them and behind them, of foreign names and of other files."""
    rng = random.Random(seed)
    spool = opened(disk, 8000, 500)
    wanted = set()
    for number in range(100):
        body = b"%d;" % number + rng.randbytes(30)
        wanted.add(body)
        spool.put(rng.choice([RESULT, TELEMETRY]), body)
    images = [bytes(node.now) for node in disk.files.values()]
    for node in disk.files.values():
        what = rng.randrange(5)
        if what == 0:
            del node.now[rng.randrange(len(node.now)) :]
        elif what == 1:
            node.now += rng.choice(images)
        elif what == 2:
            node.now[:] = rng.choice(images)
        elif what == 3:
            at = rng.randrange(len(node.now))
            node.now[at : at + 50] = rng.randbytes(rng.randrange(80))
    for name in ("r", "t", "rxyz", "r1", "t_1", "notes.txt", "r00000001.bak", "t0000FFFF"):
        disk.open(f"{FOLDER}/{name}", "ab").write(rng.choice(images))
    again = opened(disk, 8000, 500)
    assert {*bodies(again)} <= wanted
    assert len(again) == len(everything(again))
    seq = again.put(RESULT, b"new")
    assert everything(again)[-1] == (seq, RESULT, b"new")
    assert {"notes.txt", "t0000FFFF", "r1"} <= {*disk.names(FOLDER)}, "these are not ours"


def test_record_that_is_damaged_while_it_waits_is_skipped_and_counted(disk: Disk) -> None:
    spool = opened(disk)
    for number in range(40):
        spool.put(RESULT, b"%010d" % number)
    path = min(disk.files)
    disk.files[path].now[HEAD + 12] ^= 1
    found = bodies(spool)
    assert len(found) == 39
    for seq, kind, _ in everything(spool):
        spool.done(seq, kind)
    spool.close()
    assert spool.corrupt == 1
    assert disk.names(FOLDER) == ["state"]


# a disk that will not


@pytest.mark.parametrize("kind", [RESULT, TELEMETRY])
def test_full_disk_refuses_and_recovers(kind: str) -> None:
    disk = Disk(room=1000)
    spool = opened(disk, 100000, 400)
    kept = {}
    problems = set()
    for number in range(100):
        body = b"%010d" % number
        seq = spool.put(kind, body)
        problems.add(spool.problem)
        if seq:
            kept[seq] = body
    assert any("no space" in one for one in problems)
    assert "" in problems
    found = {seq: body for seq, _, body in everything(spool)}
    assert found.items() <= kept.items()
    if kind == RESULT:
        assert found == kept
        assert spool.refused == 100 - len(kept)
    else:
        assert list(found) == list(kept)[-len(found) :]
        assert spool.dropped == 100 - len(found)
    again = opened(disk, 100000, 400)
    assert {seq: body for seq, _, body in everything(again)} == found
    disk.room = None
    assert again.put(kind, b"now there is room")
    assert again.problem == ""


def test_full_disk_drops_telemetry_for_a_result() -> None:
    disk = Disk(room=1200)
    spool = opened(disk, 100000, 300)
    for number in range(30):
        assert spool.put(TELEMETRY, b"%010d" % number)
    assert spool.put(RESULT, b"r" * 500)
    assert 0 < spool.dropped < 30
    assert spool.refused == 0
    assert [kind for _, kind, _ in everything(spool)].count(RESULT) == 1


def test_disk_that_is_full_from_the_start_is_no_error() -> None:
    disk = Disk(room=10)
    spool = opened(disk)
    assert spool.put(RESULT, b"x") == 0
    assert "no space" in spool.problem
    disk.room = None
    assert spool.put(RESULT, b"x") == spool.first()[0][0]


@pytest.mark.parametrize("verb", ["open", "write", "sync", "sync_folder"])
@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS])
def test_failing_disk_refuses_but_drops_nothing(disk: Disk, verb: str, error: int) -> None:
    spool = opened(disk)
    assert spool.put(TELEMETRY, b"before")
    assert spool.put(RESULT, b"before")
    spool.close()
    disk.fail = {verb: error}
    assert spool.put(RESULT, b"not") == 0
    assert spool.put(TELEMETRY, b"not") == 0
    assert (spool.refused, spool.dropped) == (1, 1)
    assert "made to fail" in spool.problem
    disk.fail = {}
    assert spool.put(RESULT, b"after")
    assert bodies(spool) == [b"before", b"before", b"after"]
    assert {b"before", b"after"} <= {*bodies(opened(disk))} <= {b"before", b"not", b"after"}


def test_unreadable_segment_is_left_alone(disk: Disk) -> None:
    spool = opened(disk)
    for number in range(10):
        spool.put(RESULT, b"%d" % number)
    disk.fail = {"read": errno.EIO}
    assert spool.first() == []
    assert "made to fail" in spool.problem
    disk.fail = {}
    assert spool.put(RESULT, b"more")
    assert bodies(spool) == [b"more"]
    spool.close()
    again = opened(disk)
    assert bodies(again) == [*(b"%d" % number for number in range(10)), b"more"]


def test_unreadable_last_segment_is_not_overtaken(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after it must not land in a segment before it, or it would be passed over."""
    spool = opened(disk)
    spool.put(RESULT, b"x" * 300)
    spool.put(RESULT, b"unreadable" * 10)
    bad = max(path for path in disk.files if "/r" in path)
    real = disk.open

    def fail(path: str, mode: str) -> Any:
        if path == bad:
            raise OSError(errno.EIO, "made to fail")
        return real(path, mode)

    monkeypatch.setattr(disk, "open", fail)
    for one in (spool, opened(disk)):
        assert bodies(one)[0] == b"x" * 300
        assert one.put(RESULT, b"later")
    monkeypatch.undo()
    assert bodies(opened(disk)) == [b"x" * 300, b"unreadable" * 10, b"later", b"later"]


def test_put_before_open_says_so(disk: Disk) -> None:
    with pytest.raises(SpoolError, match=r"\./spool: open\(\) it before"):
        Spool(FOLDER, files=disk).put(RESULT, b"")
    assert not disk.files


# this machine's file system


def test_missing_folders_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "spool"
    spool = Spool(f"{folder}/")
    assert not folder.exists()
    spool.open()
    assert spool.put(RESULT, b"x")
    assert folder.is_dir()
    spool.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for relative in ("here", "./c/d"):
            spool = Spool(relative)
            spool.open()
            assert spool.put(RESULT, b"x")
            spool.close()
            assert Path(relative).is_dir()


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    for folder in (path, path / "below"):
        with pytest.raises(SpoolError) as raised:
            Spool(str(folder)).open()
        text = str(raised.value)
        assert str(folder) in text
        assert "must be readable and writable" in text
        assert "name another folder" in text


def test_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another user would find it; root may write anywhere."""

    def refuse(self: Files, path: str, mode: str) -> Any:
        if mode == "rb":
            return open(path, mode, buffering=0)
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(Files, "open", refuse)
    with pytest.raises(SpoolError, match=r"Permission denied.*; name another folder"):
        Spool(str(tmp_path)).open()


def test_real_files_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(str(tmp_path / "spool"))
    spool.open()
    synced: list[str] = []
    real = os.fsync

    def watch(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}") if os.path.isdir("/proc") else "")
        real(handle)

    monkeypatch.setattr(os, "fsync", watch)
    spool.put(RESULT, b"1")
    spool.put(RESULT, b"2")
    spool.close()
    folder = str(tmp_path / "spool")
    file = f"{folder}/r{1:08x}"
    if os.path.isdir("/proc"):
        assert synced == [file, folder, file]
    assert len(synced) == 3


def test_short_write_is_an_error() -> None:
    class Full:
        def write(self, data: bytes) -> int:
            return len(data) - 1

    with pytest.raises(OSError, match="no space"):
        Files().write(Full(), b"four")
