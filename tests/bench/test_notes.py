"""What handlers note, and what is counted from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.harness import notes
from bench.harness.notes import Entry, Follower, Notebook


def began(at: float, agent: str, task: str) -> Entry:
    return Entry(at, "began", agent, task)


def test_several_agents_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    assert notes.read(path) == []
    first, second = Notebook(path, "a"), Notebook(path, "b")
    first.note("began", "c.1")
    second.note("began", "c.2")
    first.note("refused", "c.1")
    first.close()
    second.close()
    entries = notes.read(path)
    assert [entry[1:] for entry in entries] == [
        ("began", "a", "c.1"),
        ("began", "b", "c.2"),
        ("refused", "a", "c.1"),
    ]
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert notes.refused(entries) == 1


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        ("a", 0),
        ("k", 0),
        ("ka", 0),
        ("kab", 1),
        ("ab", 1),
        ("aa", 1),
        ("ak", 1),
        ("aba", 2),
    ],
)
def test_only_a_start_beside_a_living_agent_is_a_duplicate(agents: str, expected: int) -> None:
    entries = [began(at, agent, "c.1") for at, agent in enumerate(agents)]
    other = [began(9, "a", "c.2"), Entry(9, "refused", "a", "c.1")]
    assert notes.duplicated([*entries, *other], {"k"}) == expected


def test_restarts_are_first_starts_elsewhere_after_the_fault() -> None:
    entries = [
        began(1.0, "k", "c.1"),
        began(1.0, "k", "c.2"),
        began(1.5, "a", "c.3"),
        began(2.25, "a", "c.1"),
        began(2.5, "b", "c.1"),
        began(3.0, "a", "c.4"),
        Entry(4.0, "refused", "a", "c.2"),
    ]
    assert notes.restarts(entries, {"c.1", "c.2", "c.3"}, {"k"}, 2.0) == [0.25]


def test_the_longest_gap_counts_from_the_fault_to_the_end() -> None:
    entries = [began(at, "a", "c.1") for at in (0.5, 1.25, 1.5, 2.0, 7.0)]
    assert notes.longest_gap(entries, 1.0, 3.0) == 1.0
    assert notes.longest_gap(entries, 1.0, 2.25) == 0.5
    assert notes.longest_gap([], 1.0, 3.0) == 2.0


def test_a_growing_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    follower = Follower(path)
    follower.read()
    follower.killed.add("k")
    with path.open("a") as file:
        file.write("1.0 began k c.1\n2.0 began a c.1\n2.5 began a c.")
        file.flush()
        follower.read()
        assert (follower.again, follower.duplicated, follower.refused) == (1, 0, 0)
        file.write("2\n3.0 began b c.2\n4.0 refused b c.2\n")
    follower.read()
    assert (follower.again, follower.duplicated, follower.refused) == (1, 1, 1)
    follower.read()
    assert (follower.again, follower.duplicated, follower.refused) == (1, 1, 1)


def test_old_tasks_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    follower = Follower(path, keep=0.0)
    for line, expected in (("began a c.1", 0), ("began b c.1", 1), ("began a c.2", 1)):
        with path.open("a") as file:
            file.write(f"1.0 {line}\n")
        follower.read()
        assert follower.duplicated == expected
    follower.read()
    follower.read()
    with path.open("a") as file:
        file.write("1.0 began b c.2\n")
    follower.read()
    assert follower.duplicated == 1
