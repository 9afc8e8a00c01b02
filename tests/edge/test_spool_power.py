"""The spool when power fails: at every change of the disk, on a disk that loses and tears."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.spool import RESULT, TELEMETRY, Spool
from tests.edge.disk import Disk, PowerCutError

ROOT = Path(__file__).parents[2]
FOLDER = "./spool"
MAX_BYTES = 1600
SEGMENT = 200


class Watched:
    """A spool and what it must still know, through power cuts."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.owed: dict[int, tuple[str, bytes]] = {}
        """Kept and not done."""
        self.done: dict[int, tuple[str, bytes]] = {}
        """Done or dropped. They may come again after a cut, and if older ones were not done
        after any restart."""
        self.maybe: dict[int, tuple[str, bytes]] = {}
        """There, though put() did not say so: may go with the next power cut."""
        self.tried: set[tuple[str, bytes]] = set()
        """Not kept as far as put() said: half a write may be whole all the same, and when the
        disk fails one may be tried under several numbers."""
        self.highest = 0
        """The highest number that anybody has seen."""
        self.ids: set[str] = set()
        self.serial = 0
        self.spool = self._spool()

    def _spool(self) -> Spool:
        return Spool(FOLDER, MAX_BYTES, SEGMENT, self.disk)

    def copy(self, disk: Disk) -> Watched:
        """The same knowledge and what the power cut has left."""
        other = Watched(disk)
        other.owed, other.done, other.maybe = dict(self.owed), dict(self.done), dict(self.maybe)
        other.tried, other.ids = set(self.tried), set(self.ids)
        other.highest, other.serial = self.highest, self.serial
        return other

    def open(self) -> None:
        self.spool.open()
        self.ids.add(self.spool.id)
        assert len(self.ids) == 1, "the spool forgot who it is"

    def put(self, kind: str, size: int) -> int:
        self.serial += 1
        # Bodies that look like records, so that a reader that loses its way finds something.
        body = (b"\xf1\x5b\x05\x00\x00\x00%d;" % self.serial * (size // 8 + 1))[:size]
        body = b"%d;" % self.serial + body
        dropped = self.spool.dropped
        self.tried.add((kind, body))
        seq = 0
        try:
            seq = self.spool.put(kind, body)
        finally:
            rejected = kind == TELEMETRY and not seq and sys.exc_info()[0] is None
            self._drop(self.spool.dropped - dropped - rejected)
        if seq:
            assert seq > self.highest, "a number was given twice"
            self.highest = seq
            self.owed[seq] = kind, body
            if not self.disk.fail:
                self.tried.discard((kind, body))
        return seq

    def _drop(self, count: int) -> None:
        """The oldest telemetry went; no result ever does."""
        there = {**self.owed, **self.maybe}
        oldest = sorted(seq for seq, (kind, _) in there.items() if kind == TELEMETRY)
        for seq in oldest[:count]:
            self.done[seq] = there[seq]
            self.owed.pop(seq, None)
            self.maybe.pop(seq, None)

    def finish(self, seq: int) -> None:
        # It is done as soon as the broker has it, whether done() gets to its end or not.
        for known in (self.owed, self.maybe):
            if seq in known:
                self.done[seq] = known.pop(seq)
        self.spool.done(seq, self.done[seq][0])

    def known(self) -> list[int]:
        """What there may be to finish."""
        return sorted([*self.owed, *self.maybe])

    def read(self, after: int = 0) -> Iterator[tuple[int, str, bytes]]:
        while True:
            batch = self.spool.first(3, 200, after)
            if not batch:
                return
            for record in batch:
                assert record[0] > after, "out of order"
                after = record[0]
                yield record

    def check(self, exact: bool) -> None:
        """What is there is what must be. ``exact``: nothing was done before the last restart."""
        found = {seq: (kind, body) for seq, kind, body in self.read()}
        for seq, record in found.items():
            if seq in self.maybe:
                assert record == self.maybe[seq], "another body than before"
            elif seq in self.owed:
                assert record == self.owed[seq], "another body than was put"
            elif seq in self.done:
                assert record == self.done[seq], "another body than was put"
                assert not exact, "done, and there again without a restart"
            else:
                assert record in self.tried, "a record that nobody put"
                self.maybe[seq] = record
                self.highest = max(self.highest, seq)
        missing = self.owed.keys() - found.keys()
        assert not missing, f"lost: {missing}"
        assert self.spool.size <= MAX_BYTES + 400  # and garbage of torn writes
        for seq in found.keys() & self.done.keys():
            self.maybe[seq] = self.done.pop(seq)  # it came again
        for seq in self.maybe.keys() - found.keys():
            del self.maybe[seq]
        for kind in (RESULT, TELEMETRY):
            there = sum(1 for other, _ in found.values() if other == kind)
            assert self.spool.pending(kind) == there
        assert self.disk.open_files <= 2


def script(rng: random.Random, length: int) -> list[tuple[str, int]]:
    """Some of everything: enough to rotate, to drop, and to be full of results."""
    steps: list[tuple[str, int]] = [("open", 0)]
    for number in range(length):
        what = rng.random()
        # Results pile up in the middle.
        finish = 0.1 if 0.5 < number / length < 0.7 else 0.42
        if what < finish:
            steps.append(("done", rng.randrange(3)))
        elif what < finish + 0.03:
            steps.append(("close", 0))
        elif what < finish + 0.06:
            steps.append(("open", 0))
        elif what < 0.7:
            steps.append((TELEMETRY, rng.choice([0, 5, 20, 60, 150])))
        else:
            steps.append((RESULT, rng.choice([0, 5, 20, 60, 300])))
    return steps


def play(watched: Watched, steps: list[tuple[str, int]]) -> None:
    for verb, value in steps:
        if verb == "open":
            # A restart of the process: what was in its memory is gone, what it wrote is not.
            again = watched.spool
            again.close()
            watched.spool = Spool(FOLDER, MAX_BYTES, SEGMENT, watched.disk)
            watched.open()
        elif verb == "close":
            watched.spool.close()
        elif verb == "done":
            known = watched.known()
            if known:
                watched.finish(known[min(value, len(known) - 1)])
        else:
            watched.put(verb, value)


HOW = ["lost", "kept", *(["torn"] * 6)]


@pytest.mark.parametrize("seed", range(3))
def test_power_fails_at_every_change_of_the_disk(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.spool._SAVE", 4)
    monkeypatch.setattr("edge.spool._BLOCK", 8)
    steps = script(random.Random(seed), 150)
    whole = Watched(Disk())
    play(whole, steps)
    whole.check(exact=False)
    assert whole.disk.operations > 300
    assert whole.spool.corrupt == 0
    for cut in range(whole.disk.operations):
        before = Watched(Disk())
        before.disk.cut_at = cut
        with pytest.raises(PowerCutError):
            play(before, steps)
        for number, how in enumerate(HOW):
            rng = random.Random(f"{seed} {cut} {number}")
            after = before.copy(before.disk.after_cut(how, rng))
            if number % 2:
                # Power fails again while it recovers, or soon after.
                after.disk.cut_at = rng.randrange(12)
                with contextlib.suppress(PowerCutError):
                    after.open()
                    after.put(RESULT, 10)
                    after.put(TELEMETRY, 10)
                after = after.copy(after.disk.after_cut(rng.choice(HOW), rng))
            after.open()
            after.check(exact=False)
            play(after, [step for step in script(rng, 6) if step[0] not in ("open", "close")])
            after.check(exact=True)


def test_script_reaches_what_it_is_for() -> None:
    """Without this the test above could pass by never being full."""
    watched = Watched(Disk())
    dropped = refused = 0
    for seed in range(3):
        watched = Watched(Disk())
        for step in script(random.Random(seed), 150):
            before = watched.spool
            play(watched, [step])
            if watched.spool is not before:
                dropped += before.dropped
                refused += before.refused
        dropped += watched.spool.dropped
        refused += watched.spool.refused
    assert dropped > 20
    assert refused > 2


class Mixed(RuleBasedStateMachine):
    """Random mixes with power cuts anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = Watched(Disk())
        self.cuts = 0

    @initialize()
    def begin(self) -> None:
        self.watched.open()

    @rule(kind=st.sampled_from([RESULT, TELEMETRY]), size=st.integers(0, 400))
    def put(self, kind: str, size: int) -> None:
        self.watched.put(kind, size)

    @precondition(lambda self: self.watched.known())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.watched.finish(data.draw(st.sampled_from(self.watched.known()[:8])))

    @precondition(lambda self: self.watched.done)
    @rule(data=st.data())
    def finish_again(self, data: st.DataObject) -> None:
        self.watched.finish(data.draw(st.sampled_from(sorted(self.watched.done))))

    @rule()
    def restart(self) -> None:
        play(self.watched, [("open", 0)])
        self.watched.check(exact=False)

    @rule(
        kind=st.sampled_from([RESULT, TELEMETRY]),
        error=st.sampled_from([5, 28, 30]),
        verb=st.sampled_from(["open", "write", "sync", "sync_folder", "remove", "rename"]),
    )
    def fail(self, kind: str, error: int, verb: str) -> None:
        self.watched.disk.fail = {verb: error}
        self.watched.put(kind, 50)
        self.watched.disk.fail = {}

    @rule(
        ahead=st.integers(0, 12),
        how=st.sampled_from(HOW),
        size=st.integers(0, 100),
        rng=st.randoms(use_true_random=False),
    )
    def cut(self, ahead: int, how: str, size: int, rng: random.Random) -> None:
        disk = self.watched.disk
        disk.cut_at = disk.operations + ahead
        with contextlib.suppress(PowerCutError):
            for _ in range(12):
                self.watched.put(rng.choice([RESULT, TELEMETRY]), size)
                if self.watched.owed:
                    self.watched.finish(min(self.watched.owed))
        self.watched = self.watched.copy(disk.after_cut(how, rng))
        self.watched.open()
        self.watched.check(exact=False)

    @invariant()
    def holds(self) -> None:
        if self.watched.ids:
            self.watched.check(exact=False)


TestMixed = Mixed.TestCase
TestMixed.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


CHILD = """
import sys
from edge.spool import Spool
spool = Spool(sys.argv[1], 60000, 2000)
spool.open()
number = int(sys.argv[2])
while True:
    number += 1
    kind = "rt"[number % 2]
    seq = spool.put(kind, b"%d;" % number * 20)
    if seq:
        print(seq, kind, number, flush=True)
    if number % 40 == 0:
        for seq, kind, _ in spool.first(35, 100000):
            print(seq, flush=True)
            spool.done(seq, kind)
"""


@pytest.mark.fault
def test_killed_process_loses_nothing(tmp_path: Path) -> None:
    """On a real disk, where SIGKILL leaves half a write but no lost one."""
    folder = str(tmp_path / "spool")
    rng = random.Random(5)
    owed: dict[int, tuple[str, bytes]] = {}
    done: set[int] = set()
    number = highest = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", CHILD, folder, str(number)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        assert process.stdout is not None
        with process.stdout as output:
            lines = [next(output) for _ in range(rng.randint(20, 400))]
            process.kill()
            lines += [line for line in output if line.endswith("\n")]
        process.wait(10)
        for line in lines:
            words = line.split()
            if len(words) == 1:
                done.add(int(words[0]))
                owed.pop(int(words[0]), None)  # it came again
            else:
                seq, number = int(words[0]), int(words[2])
                assert seq > highest
                highest = seq
                owed[seq] = words[1], b"%d;" % number * 20
        number += 100  # one that was put and not told of may be there
        spool = Spool(folder, 60000, 2000)
        spool.open()
        found = {seq: (kind, body) for seq, kind, body in spool.first(10**6, 10**9)}
        for seq, record in owed.items():
            assert found.get(seq) == record
        unknown = found.keys() - owed.keys() - done
        assert len(unknown) <= 1
        for seq in unknown:  # kept by the process that died before it could say so
            owed[seq] = found[seq]
            highest = max(highest, seq)
        assert not spool.dropped
        assert not spool.refused
        spool.close()
