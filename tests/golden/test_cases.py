"""Golden cases are read from YAML, and all that is wrong with them is said at once."""

from __future__ import annotations

import pytest

from fleetbus.gitops.documents import parse
from fleetbus.gitops.problems import Problem
from fleetbus.golden.cases import Case, InvalidCases, chosen, problems, read


def cases(text: str, file: str = "golden/a.yaml") -> tuple[list[Case], list[Problem]]:
    return read([parse(text.encode(), file)])


def test_a_case_in_full() -> None:
    found, wrong = cases(
        """
short-text:
  capability: summarize
  input: {text: "Fleets drift.", max_words: 5}
  select: "gpu, site=berlin"
  timeout: 2.5
  ignore: [took_ms, "items.*.id"]
  peers: false
  subset: {language: en}
bare:
  capability: ping
"""
    )
    assert wrong == []
    bare, full = found
    assert full == Case(
        "short-text",
        "summarize",
        {"text": "Fleets drift.", "max_words": 5},
        full.select,
        2.5,
        (("took_ms",), ("items", "*", "id")),
        False,
        "subset",
        {"language": "en"},
        place="golden/a.yaml:2",
    )
    assert set(full.select.split(",")) == {"gpu", "site=berlin"}
    assert bare == Case("bare", "ping", place="golden/a.yaml:10")
    assert bare.timeout == 30


@pytest.mark.parametrize(
    ("text", "rule", "expected", "tolerance"),
    [
        ("equals: null", "equals", None, (0, 0)),
        ("equals: [1, a]", "equals", [1, "a"], (0, 0)),
        ("regex: '^a+$'", "regex", "^a+$", (0, 0)),
        ("approx: {value: 0.5, abs: 0.1}", "approx", 0.5, (0.1, 0)),
        ("approx: {value: {a: 1}, rel: 0.02, abs: 0}", "approx", {"a": 1}, (0, 0.02)),
        ("approx: {abs: 3}", "", None, (3, 0)),
    ],
)
def test_what_is_expected(
    text: str, rule: str, expected: object, tolerance: tuple[float, float]
) -> None:
    [case], wrong = cases(f"one:\n  capability: c\n  {text}\n")
    assert wrong == []
    assert (case.rule, case.expected, (case.abs, case.rel)) == (rule, expected, tolerance)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 5", 1, "case 'a': is 5 (an integer), not a mapping"),
        ("a b: {capability: c}", 1, "1 to 64 characters"),
        ("a: {input: 1}", 1, "has no capability"),
        ("a:\n  capability: x.y", 2, 'capability "x.y" is not a legal name'),
        ("a:\n  capability: c\n  equal: 1", 3, "unknown key 'equal': did you mean equals?"),
        ("a:\n  capability: c\n  zzz: 1", 3, "known are capability, input"),
        ("a:\n  capability: c\n  equals: 1\n  regex: b", 4, "expects equals and regex: keep one"),
        ("a:\n  capability: c\n  select: 'a='", 3, "selector 'a='"),
        ("a:\n  capability: c\n  select: 5", 3, "select is 5 (an integer), not text"),
        ("a:\n  capability: c\n  timeout: 0", 3, "timeout 0 is not seconds above 0"),
        ("a:\n  capability: c\n  timeout: true", 3, "timeout true is not seconds"),
        ("a:\n  capability: c\n  timeout: 1h", 3, 'timeout "1h" is not seconds'),
        ("a:\n  capability: c\n  ignore: x", 3, "not a list of dotted paths"),
        ("a:\n  capability: c\n  ignore: [a..b]", 3, "a name is missing at character 3"),
        ("a:\n  capability: c\n  peers: 1", 3, "peers is 1, not true or false"),
        ("a:\n  capability: c\n  regex: '('", 3, "regex cannot be used: missing )"),
        ("a:\n  capability: c\n  regex: 5", 3, "regex is 5 (an integer), not text"),
        (f"a:\n  capability: c\n  regex: {'x' * 1001}", 3, "1001 characters, more than 1000"),
        ("a:\n  capability: c\n  approx: 5", 3, "approx is not a mapping"),
        ("a:\n  capability: c\n  approx: {value: 5}", 3, "neither abs nor rel"),
        ("a:\n  capability: c\n  approx:\n    value: 5\n    abs: -1", 5, "abs -1 is not a number"),
        ("a:\n  capability: c\n  approx: {value: 5, abs: 1, by: 2}", 3, "write {value: 0.75"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, problem: str) -> None:
    found, wrong = cases(text)
    assert found == []
    [said] = wrong
    assert str(said).startswith(f"golden/a.yaml:{line}: error: case ")
    assert problem in said.message


def test_all_problems_of_all_files_are_said() -> None:
    good = "one: {capability: c}\n"
    found, wrong = read(
        [
            parse(f"{good}two: {{}}\nthree: 1\n".encode(), "golden/a.yaml"),
            parse(f"\n{good}".encode(), "golden/b.yaml"),
        ]
    )
    assert [case.name for case in found] == ["one"]
    assert [(one.file, one.line) for one in wrong] == [
        ("golden/a.yaml", 2),
        ("golden/a.yaml", 3),
        ("golden/b.yaml", 2),
    ]
    assert "there is one at golden/a.yaml:1 too: rename one" in wrong[2].message


def test_some_are_chosen() -> None:
    found, _ = cases("aa: {capability: x}\nbb: {capability: x}\ncc: {capability: y}\n")
    assert [case.name for case in chosen(found, [], None)] == ["aa", "bb", "cc"]
    assert [case.name for case in chosen(found, ["cc", "aa"], None)] == ["aa", "cc"]
    assert [case.name for case in chosen(found, [], "y")] == ["cc"]
    with pytest.raises(InvalidCases, match=r"no golden case 'aaa': did you mean 'aa'\?"):
        chosen(found, ["aaa"], None)
    with pytest.raises(InvalidCases, match="no golden case 'x': there are aa, bb, cc"):
        chosen(found, ["x"], None)
    with pytest.raises(InvalidCases, match="of capability 'z': they are of x, y"):
        chosen(found, [], "z")


def test_the_cases_of_a_commit_can_be_checked_alone() -> None:
    texts = {"golden/a.yaml": "one: {capability: c}\ntwo: 5\n", "golden/b.yaml": "one: {}\n"}
    found = problems({file: parse(text.encode(), file) for file, text in texts.items()})
    assert [(one.severity, one.place) for one in found] == [
        ("error", "golden/a.yaml:2"),
        ("error", "golden/b.yaml:1"),
    ]
