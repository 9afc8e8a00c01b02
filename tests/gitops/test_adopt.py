"""Files are edited so that they hold what is on the bus, and keep what people wrote in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.config.followed import Followed
from bus.config.layers import Layers, Stored
from bus.config.merge import canonical
from bus.config.past import State
from bus.wire.config import ConfigLayer
from fleetbus.gitops.adopt import adopted, rewritten
from fleetbus.gitops.documents import parse
from fleetbus.gitops.errors import RepositoryError, TooBig
from fleetbus.gitops.repository import Repository
from tests.support.repositories import MadeRepository

FILE = "global.yaml"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeRepository]:
    with MadeRepository(tmp_path / "config") as made:
        yield made


def diff(made: MadeRepository, old: str | bytes, values: dict[str, Any]) -> str:
    """What is adopted if a fleet that never synced has ``values`` for all."""
    made.commit({FILE: old})
    state = State(Followed(), Layers([Stored("global", ConfigLayer(values), 1)]), ())
    with Repository.open(made.path) as repository:
        return adopted(repository, repository.resolve("main"), "prod", state)


def test_what_an_alias_shares_is_edited_in_one_place(made: MadeRepository) -> None:
    found = diff(made, "base: &x {m: 1}\nother: *x\n", {"base": {"m": 2}, "other": {"m": 1}})
    assert "-base: &x {m: 1}\n-other: *x\n+base: {m: 2}\n+other: {m: 1}\n" in found


def test_a_number_is_not_true(made: MadeRepository) -> None:
    assert "-a: 1\n+a: true\n" in diff(made, "a: 1\nb: 2\n", {"a": True, "b": 2})
    assert diff(made, "a: true\nb: 2\n", {"a": True, "b": 2}) == ""


def test_a_file_that_is_too_big_is_named(made: MadeRepository) -> None:
    with pytest.raises(TooBig, match=r"file global\.yaml has 300003 bytes"):
        diff(made, "a: " + "x" * 300_000, {"a": 1})


def test_a_file_that_is_no_text_is_named(made: MadeRepository) -> None:
    with pytest.raises(RepositoryError, match=r"global\.yaml is not UTF-8: save it"):
        diff(made, b"a: \xff\n", {"a": 1})


@pytest.mark.parametrize(
    ("old", "values", "new"),
    [
        # No difference: not a character is touched.
        ("a:   1 #x\n\n", {"a": 1}, "a:   1 #x\n\n"),
        ("base: &x {m: 1}\nother: *x\n", {"base": {"m": 1}, "other": {"m": 1}},
         "base: &x {m: 1}\nother: *x\n"),
        # An alias stays one where it can.
        ("base: &x {m: 1}\nother: *x\n", {"base": {"m": 2}, "other": {"m": 2}},
         "base: &x {m: 2}\nother: *x\n"),
        ("base: &x {m: 1}\nother: *x\nz: 1 # why\n",
         {"base": {"m": 1}, "other": {"m": 1}, "z": 2},
         "base: &x {m: 1}\nother: *x\nz: 2 # why\n"),
        # Else it becomes a copy, and the comments stay.
        ("# top\nb: &x\n  m: 1  # one\n  n: [1, 2]\no: *x\n",
         {"b": {"m": 2, "n": [1, 2]}, "o": {"m": 1, "n": [1, 2]}},
         "# top\nb:\n  m: 2  # one\n  n: [1, 2]\no:\n  m: 1  # one\n  n: [1, 2]\n"),
        ("b: &x {m: 1, n: 2}\no: *x\n", {"b": {"m": 1}, "o": {"m": 1, "n": 2}},
         "b: {m: 1}\no: {m: 1, n: 2}\n"),
        # 1, 1.0 and true are three values.
        ("a: 1 # why\n", {"a": True}, "a: true # why\n"),
        ("a: true\n", {"a": 1}, "a: 1\n"),
        ("a: 1\n", {"a": 1.0}, "a: 1.0\n"),
        ("a: {b: 1}\n", {"a": {"b": True}}, "a: {b: true}\n"),
        ("a: [1]\n", {"a": [True]}, "a:\n- true\n"),
        # What the editor takes for dates and times is text to us, and stays as it is.
        ("a: 2026-11-21\nb: 12:30\nc: 1\n", {"a": "2026-11-21", "b": "12:30", "c": 2},
         "a: 2026-11-21\nb: 12:30\nc: 2\n"),
        ("a: 1\nb: 1\n", {"b": 1}, "b: 1\n"),
        ("a: 1\n", {}, ""),
        ("", {"a": 1}, "a: 1\n"),
        ("# to come\n", {"a": 1}, "# to come\na: 1\n"),
        ("a: [\n", {"a": 1}, "a: 1\n"),
        ("", {"a": "x\u2028y"}, 'a: "x\\Ly"\n'),
    ],
)  # fmt: skip
def test_files_are_edited(old: str, values: dict[str, Any], new: str) -> None:
    assert rewritten(old, FILE, values) == new


SCALARS = st.one_of(st.integers(-3, 3), st.booleans(), st.sampled_from(["", "no", "1", "a: b"]))
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3)
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_the_file_then_holds_what_was_wanted(have: dict[str, Any], want: dict[str, Any]) -> None:
    old = rewritten("", FILE, have)
    if want:
        shared = f"x: &x\n  a: 1\n  b: {{c: 2}}\na: *x\nb: {{c: *x}}\n{old and '# z'}"
        for text in (old, shared):
            found = parse(rewritten(text, FILE, want).encode(), FILE).values
            assert canonical(found) == canonical(want)


def test_a_file_that_is_there_and_empty_is_not_made_anew(made: MadeRepository) -> None:
    found = diff(made, "", {"a": 1})
    assert "new file" not in found
    assert "--- a/global.yaml\n+++ b/global.yaml\n@@ -0,0 +1 @@\n+a: 1\n" in found


def test_a_file_keeps_its_line_ends(made: MadeRepository) -> None:
    found = diff(made, "# why\r\na: 1\r\nb: 2\r\n", {"a": 3, "b": 2})
    assert "-a: 1\r\n+a: 3\r\n b: 2\r\n" in found
