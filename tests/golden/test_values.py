"""Answers as values: equality, subsets, tolerance, and where the first difference is."""

from __future__ import annotations

from typing import Any

import pytest

from bus.config.paths import parse
from fleetbus.golden.values import (
    MAX_DEPTH,
    Likeness,
    TooDeep,
    difference,
    seen,
    short,
    text_of,
    without,
)

EXACT = Likeness()
SUBSET = Likeness(subset=True)
NEAR = Likeness(abs=0.1)
SHARE = Likeness(rel=0.01)


@pytest.mark.parametrize(
    ("like", "wanted", "found"),
    [
        (EXACT, None, None),
        (EXACT, 1, 1.0),
        (EXACT, {"a": [1, "x"], "b": None}, {"b": None, "a": [1.0, "x"]}),
        (EXACT, 10**400, 10**400),
        (SUBSET, {}, {"a": 1}),
        (SUBSET, {"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}),
        (SUBSET, {"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}),
        (NEAR, 0.5, 0.6),
        (NEAR, [{"a": 1}], [{"a": 0.95}]),
        (NEAR, 10**400, 10**400),
        (SHARE, 100, 100.9),
        (SHARE, -100, -99.1),
        (SHARE, 0, 0.0),
    ],
)
def test_alike(like: Likeness, wanted: Any, found: Any) -> None:
    assert difference(wanted, found, like) is None


@pytest.mark.parametrize(
    ("like", "wanted", "found", "said"),
    [
        (EXACT, 1, 2, "2, expected 1"),
        (EXACT, True, 1, "1, expected true"),
        (EXACT, 0, False, "false, expected 0"),
        (EXACT, "1", 1, '1, expected "1"'),
        (EXACT, None, {}, "{}, expected null"),
        (EXACT, {"a": 1}, {}, "a: nothing, expected 1"),
        (EXACT, {}, {"a": 1}, "a: 1, expected nothing"),
        (EXACT, {"a": {"b": [0, {"c": 1}]}}, {"a": {"b": [0, {"c": 2}]}}, "a.b.1.c: 2, expected 1"),
        (EXACT, {"x.y": 1}, {"x.y": 2}, '"x.y": 2, expected 1'),
        (EXACT, [1, 2], [1], "1 item, expected 2 items"),
        (EXACT, [1, 2], [3], "0: 3, expected 1"),
        (EXACT, [], {}, "{}, expected []"),
        (SUBSET, {"a": 1}, {"b": 1}, "a: nothing, expected 1"),
        (SUBSET, {"a": [1]}, {"a": [1, 2]}, "a: 2 items, expected 1 item"),
        (NEAR, 0.5, 0.61, "0.61, expected 0.5"),
        (NEAR, True, 1, "1, expected true"),
        (NEAR, {"a": "x"}, {"a": "y"}, 'a: "y", expected "x"'),
        (NEAR, 10**400, 1.0, "1, expected 1000"),
        (SHARE, 100, 102, "102, expected 100"),
        (SHARE, 0, 1e-9, "1e-09, expected 0"),
    ],
)
def test_the_first_difference(like: Likeness, wanted: Any, found: Any, said: str) -> None:
    where = difference(without(wanted, ()), without(found, ()), like)
    assert where is not None
    assert where.said("expected").startswith(said)


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        (["took"], {"items": [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]}),
        (["took", "items.*.id"], {"items": [{"n": "a"}, {"n": "b"}]}),
        (["took", "items.0"], {"items": [None, {"id": 2, "n": "b"}]}),
        (["items"], {"took": 1.5}),
        (["*"], {}),
        (["*.*"], {"took": 1.5, "items": [None, None]}),
        (["no.such", "took.x", "items.9"], None),
    ],
)
def test_what_is_ignored(ignore: list[str], left: Any) -> None:
    value = {"took": 1.5, "items": [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]}
    expected = value if left is None else left
    assert without(value, [parse(one) for one in ignore]) == expected


def test_the_same_have_the_same_key() -> None:
    assert seen({"a": 1, "b": 2.0}).key == seen({"b": 2, "a": 1.0}).key
    assert seen(1e300).key == seen(10**300 * 1.0).key
    assert seen({"a": 1, "t": 5}, [("t",)]).key == seen({"a": 1, "t": 6}, [("t",)]).key
    different = [None, True, 1, "1", [], {}, [1], {"a": None}, 1.5, ""]
    assert len({seen(one).key for one in different}) == len(different)


def test_bytes_count_as_their_text() -> None:
    assert seen("grün".encode()).value == "grün"
    assert seen(b"\xff\x00").value == "/wA="


def test_text_for_regular_expressions() -> None:
    assert text_of('a "text"') == 'a "text"'
    assert text_of({"b": [1, None], "a": "ü"}) == '{"a":"ü","b":[1,null]}'


def test_too_deep_is_refused() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(TooDeep, match=f"deeper than {MAX_DEPTH} levels"):
        seen(value)
    kept = seen(value[0]).value
    assert difference(kept, kept, EXACT) is None


def test_long_values_are_cut() -> None:
    assert short({"a": 1}) == '{"a":1}'
    assert short("x" * 50, 20) == f'"{"x" * 19}… (50 characters)'
    assert short(list(range(100)), 10) == "[0,1,2,3,4… (291 characters)"
    assert len(short("\x00" * 10_000_000)) < 200
