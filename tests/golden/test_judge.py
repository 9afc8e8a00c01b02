"""Who passed, and who is not like the others: decided from tables."""

from __future__ import annotations

from typing import Any

import pytest

from fleetbus.golden.cases import Case
from fleetbus.golden.judge import Answer, check, compare
from fleetbus.golden.regex import Match
from fleetbus.golden.values import seen


def answer(value: Any) -> Answer:
    return Answer("w1", "one", seen(value))


@pytest.mark.parametrize(
    ("case", "value", "reason"),
    [
        (Case("one", "c"), {"a": 1}, ""),
        (Case("one", "c", rule="equals", expected=None), None, ""),
        (Case("one", "c", rule="equals", expected="a"), "b", '"b", expected "a"'),
        (Case("one", "c", rule="equals", expected={"n": 1.0}), {"n": 1}, ""),
        (Case("one", "c", rule="subset", expected={"a": 1}), {"a": 1, "b": 2}, ""),
        (Case("one", "c", rule="subset", expected={"a": 1}), {"a": 2}, "a: 2, expected 1"),
        (Case("one", "c", rule="approx", expected=[1], abs=0.5), [1.4], ""),
        (Case("one", "c", rule="approx", expected=[1], abs=0.5), [1.6], "0: 1.6, expected 1"),
        (
            Case("one", "c", rule="equals", expected={"a": 1, "t": 0}, ignore=(("t",),)),
            {"a": 1},
            "",
        ),
    ],
)
def test_what_is_expected(case: Case, value: Any, reason: str) -> None:
    given = Answer("w1", "one", seen(value, case.ignore))
    found = check(case, given)
    assert (found.outcome, found.reason) == ("failed" if reason else "passed", reason)


@pytest.mark.parametrize(
    ("match", "outcome", "reason"),
    [
        ("found", "passed", ""),
        ("not found", "failed", '"abc", expected to match "^x"'),
        ("too slow", "failed", "took more than 2 s: simplify the regex"),
        ("too long", "failed", "3 characters, more than the 100000"),
        (None, "failed", "expected to match"),
    ],
)
def test_regex(match: Match | None, outcome: str, reason: str) -> None:
    case = Case("one", "c", rule="regex", expected="^x")
    found = check(case, answer("abc"), match)
    assert found.outcome == outcome
    assert reason in found.reason


def test_no_answer() -> None:
    case = Case("one", "c")
    failed = check(case, Answer("w1", "one", problem="failed: ValueError: x"))
    assert (failed.outcome, failed.reason) == ("error", "failed: ValueError: x")
    missing = check(case, Answer("w1", "one", problem="no answer within 1 s", missing=True))
    assert (missing.outcome, missing.reason) == ("missing", "no answer within 1 s")


@pytest.mark.parametrize(
    ("answers", "divergent", "split"),
    [
        # who answered what, one letter an instance; w0, w1, ...
        ("a", "", []),
        ("aa", "", []),
        ("ab", "", ["0", "1"]),
        ("aaa", "", []),
        ("aab", "2", []),
        ("baa", "0", []),
        ("aabb", "", ["01", "23"]),
        ("aaabb", "34", []),
        ("aabbc", "", ["01", "23", "4"]),
        ("aaabc", "34", []),
        ("abc", "", ["0", "1", "2"]),
        ("abbc", "", ["12", "0", "3"]),
    ],
)
def test_the_majority_speaks(answers: str, divergent: str, split: list[str]) -> None:
    given = {f"w{i}": [seen({"label": letter})] for i, letter in enumerate(answers)}
    found = compare(Case("one", "c"), given)
    assert list(found.divergent) == [f"w{i}" for i in divergent]
    assert [group.agents for group in found.split] == [tuple(f"w{i}" for i in one) for one in split]
    assert found.unstable == {}


def test_a_divergent_one_is_told_where_it_differs() -> None:
    given = {name: [seen({"a": [1, "x"]})] for name in ("p", "q", "r")}
    given["s"] = [seen({"a": [1, "y"]})]
    found = compare(Case("one", "c", rule="regex", expected="."), given)
    assert found.divergent == {"s": 'a.1: "y", 3 peers have "x"'}
    assert found.majority == ("p", "q", "r")


def test_who_disagrees_with_itself_is_unstable_and_has_no_vote() -> None:
    given = {
        "p": [seen("a"), seen("a")],
        "q": [seen("a"), seen("a")],
        "r": [seen("b"), seen("c")],
    }
    found = compare(Case("one", "c"), given)
    assert found.unstable == {"r": '"c", it also answered "b"'}
    assert found.divergent == {}
    assert found.split == ()
    # Without r there are two, and of two nobody can tell.
    given["q"] = [seen("b")]
    found = compare(Case("one", "c"), given)
    assert list(found.unstable) == ["r"]
    assert [group.agents for group in found.split] == [("p",), ("q",)]


def test_all_unstable_is_no_divergence() -> None:
    given = {name: [seen(name), seen(name * 2)] for name in ("p", "q", "r")}
    found = compare(Case("one", "c"), given)
    assert list(found.unstable) == ["p", "q", "r"]
    assert (found.divergent, found.split) == ({}, ())


@pytest.mark.parametrize(
    ("numbers", "divergent", "split"),
    [
        ([1.0, 1.05, 1.1], [], 0),
        ([1.0, 1.05, 2.0], ["w2"], 0),
        # w1 is near to both others, which are not near to each other: they are one group.
        ([1.0, 1.09, 1.18], [], 0),
        ([1.0, 1.09, 1.18, 1.27], ["w3"], 0),
        ([1, 2, 3], [], 3),
    ],
)
def test_a_tolerance_holds_among_peers(
    numbers: list[float], divergent: list[str], split: int
) -> None:
    given = {f"w{i}": [seen({"score": number})] for i, number in enumerate(numbers)}
    found = compare(Case("one", "c", abs=0.1), given)
    assert list(found.divergent) == divergent
    assert len(found.split) == split


def test_a_tolerance_holds_among_repeats() -> None:
    given = {"w0": [seen(1.0), seen(1.05)], "w1": [seen(1.0), seen(1.5)]}
    assert list(compare(Case("one", "c", abs=0.1), given).unstable) == ["w1"]


def test_peers_can_be_left_out() -> None:
    given = {f"w{i}": [seen(i)] for i in range(3)}
    assert compare(Case("one", "c", peers=False), given).split == ()


def test_many_instances_are_compared() -> None:
    given = {f"w{i:04}": [seen({"n": i})] for i in range(2000)}
    assert len(compare(Case("one", "c"), given).split) == 2000
    near = {f"w{i:04}": [seen({"n": i % 300})] for i in range(2000)}
    assert len(compare(Case("one", "c", abs=0.5), near).split) == 300
