"""Golden cases: what one is, and how they are read from documents. Pure.

A file ``golden/<anything>.yaml`` is a mapping of case names to cases; a name is unique among all
files, and made of 1 to 64 characters of A-Z a-z 0-9 _ -::

    short-text:
      capability: summarize          # who is asked: every instance that offers it
      input: {text: Fleets drift.}   # any JSON; a mapping gives the parameters by name
      select: site=berlin            # only instances that match; optional
      timeout: 20                    # seconds until the answer no longer counts; 30
      ignore: [took_ms, items.*.id]  # dotted paths that are not compared; * is any name or index
      peers: true                    # compare the instances with each other, too; true
      subset: {language: en}         # what is expected: at most one of the four below

What is expected:

``equals: JSON``
    The same value. 1 and 1.0 are the same number; true is not 1.
``subset: JSON``
    Every key that is named here has this value in the answer, at any depth; further keys do not
    matter. A list has as many items as here, each a subset of the one in its place.
``regex: TEXT``
    Python's regular expression is found in the answer, anywhere unless it says ``\\A`` or ``\\Z``:
    in the text of an answer that is a string, else in its JSON without blanks, keys sorted.
``approx: {value: JSON, abs: NUMBER, rel: NUMBER}``
    The same value, but numbers at any depth may differ by ``abs``, or by ``rel`` times the larger
    of the two. One of them is required. ``value`` may be left out; then the tolerance is for the
    comparison with the peers alone.

Without any of these only the peers speak. An answer of bytes counts as its text, or as base64 if
it is none.
"""

from __future__ import annotations

import difflib
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from bus.config import paths
from bus.errors import FleetError, InvalidPath, InvalidSelector
from bus.selectors import Selector
from bus.subjects import TOKEN
from fleetbus.gitops.problems import Problem
from fleetbus.gitops.source import Document, kind
from fleetbus.golden.values import short

Rule = Literal["", "equals", "subset", "regex", "approx"]
RULES: Final = tuple(rule for rule in get_args(Rule) if rule)
KEYS: Final = ("capability", "input", "select", "timeout", "ignore", "peers", *RULES)

TIMEOUT: Final = 30.0
MAX_TIMEOUT: Final = 3600.0
MAX_PATTERN: Final = 1000
"""Characters of a regular expression."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question, and what is expected of the answer."""

    name: str
    capability: str
    input: Any = None
    select: str = ""
    timeout: float = TIMEOUT
    ignore: tuple[paths.Path, ...] = ()
    peers: bool = True
    rule: Rule = ""
    """Empty: nothing is expected but what the peers say."""
    expected: Any = None
    abs: float = 0.0
    rel: float = 0.0
    place: str = ""
    """``file:line``."""


class InvalidCases(FleetError):
    """Case files cannot be used. ``problems`` has a line for each thing that is wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class _Wrong(Exception):
    """What is wrong with one case, and at which of its keys."""

    def __init__(self, key: str, problem: str) -> None:
        self.key = key
        self.problem = problem
        super().__init__(problem)


def read(documents: Iterable[Document]) -> tuple[list[Case], list[Problem]]:
    """The cases in ``documents``, by name, and all that is wrong with them."""
    found: dict[str, Case] = {}
    problems: list[Problem] = []
    for document in documents:
        for name, value in document.values.items():
            try:
                case = _case(document, name, value)
                if name in found:
                    raise _Wrong("", f"there is one at {found[name].place} too: rename one")
            except _Wrong as wrong:
                message = f"case {name[:80]!r}: {wrong.problem}"
                line = _line(document, name, wrong.key)
                problems.append(Problem("error", document.file, message, line))
            else:
                found[name] = case
    return [case for _, case in sorted(found.items())], problems


def problems(documents: Mapping[str, Document]) -> list[Problem]:
    """All that is wrong with the cases of a commit, whose files are ``documents``."""
    return read(documents.values())[1]


def chosen(cases: Iterable[Case], names: Iterable[str], capability: str | None) -> list[Case]:
    """The cases that were asked for: all if ``names`` is empty.

    Raises:
        InvalidCases: there is no case of such a name, or none of this capability.
    """
    cases = list(cases)
    wanted = set(names)
    have = {case.name for case in cases}
    problems = []
    for name in sorted(wanted - have):
        near = difflib.get_close_matches(name, have, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {_some(sorted(have))}"
        problems.append(f"no golden case {name!r}: {hint}")
    if capability is not None and all(case.capability != capability for case in cases):
        named = _some(sorted({case.capability for case in cases}))
        problems.append(f"no golden case of capability {capability!r}: they are of {named}")
    if problems:
        raise InvalidCases(problems)
    return [
        case
        for case in cases
        if (not wanted or case.name in wanted) and capability in (None, case.capability)
    ]


def _case(document: Document, name: str, value: Any) -> Case:
    if not TOKEN.fullmatch(name):
        raise _Wrong("", "a name has 1 to 64 characters of A-Z a-z 0-9 _ -: rename it")
    if not isinstance(value, Mapping):
        raise _Wrong("", f"is {kind(value)}, not a mapping with capability, input and so on")
    for key in value:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1)
            fix = f"did you mean {near[0]}?" if near else f"known are {', '.join(KEYS)}"
            raise _Wrong(str(key), f"unknown key {str(key)[:80]!r}: {fix}")
    given = [rule for rule in RULES if rule in value]
    if len(given) > 1:
        raise _Wrong(given[1], f"expects {' and '.join(given)}: keep one, or make a case for each")
    rule: Rule = given[0] if given else ""
    expected, absolute, relative = value.get(rule), 0.0, 0.0
    if rule == "regex":
        _regex(expected)
    elif rule == "approx":
        rule, expected, absolute, relative = _approx(expected)
    return Case(
        name,
        _capability(value),
        value.get("input"),
        _select(value.get("select", "")),
        _timeout(value.get("timeout", TIMEOUT)),
        _ignore(value.get("ignore", [])),
        _peers(value.get("peers", True)),
        rule,
        expected,
        absolute,
        relative,
        f"{document.file}:{_line(document, name, '')}",
    )


def _capability(value: Mapping[str, Any]) -> str:
    if "capability" not in value:
        raise _Wrong("", "has no capability: add the name of the one to ask, capability: NAME")
    name = value["capability"]
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise _Wrong("capability", f"capability {short(name, 80)} is not a legal name")
    return name


def _select(text: Any) -> str:
    if not isinstance(text, str):
        raise _Wrong("select", f"select is {kind(text)}, not text such as site=berlin,!gpu")
    try:
        return str(Selector.parse(text))
    except InvalidSelector as problem:
        raise _Wrong("select", str(problem)) from None


def _timeout(value: Any) -> float:
    if not _number(value) or not 0 < value <= MAX_TIMEOUT:
        raise _Wrong(
            "timeout", f"timeout {short(value, 80)} is not seconds above 0 and to {MAX_TIMEOUT:g}"
        )
    return float(value)


def _ignore(value: Any) -> tuple[paths.Path, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _Wrong("ignore", "ignore is not a list of dotted paths such as [took_ms, items.*.id]")
    try:
        return tuple(paths.parse(one) for one in value)
    except InvalidPath as problem:
        raise _Wrong("ignore", str(problem)) from None


def _peers(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("peers", f"peers is {short(value, 80)}, not true or false")
    return value


def _regex(pattern: Any) -> None:
    if not isinstance(pattern, str):
        raise _Wrong("regex", f"regex is {kind(pattern)}, not text: put it in quotes")
    if len(pattern) > MAX_PATTERN:
        raise _Wrong("regex", f"regex has {len(pattern)} characters, more than {MAX_PATTERN}")
    try:
        with warnings.catch_warnings():
            # Of what a later Python may read otherwise; this one is sure.
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as problem:
        raise _Wrong("regex", f"regex cannot be used: {problem}") from None


def _approx(value: Any) -> tuple[Rule, Any, float, float]:
    example = "write {value: 0.75, abs: 0.01} or {value: 0.75, rel: 0.02}"
    if not isinstance(value, Mapping) or not value.keys() <= {"value", "abs", "rel"}:
        raise _Wrong("approx", f"approx is not a mapping of value, abs and rel: {example}")
    if not value.keys() & {"abs", "rel"}:
        raise _Wrong("approx", f"approx has neither abs nor rel: {example}")
    for key in ("abs", "rel"):
        number = value.get(key, 0.0)
        if not _number(number) or not 0 <= number < math.inf:
            raise _Wrong(f"approx.{key}", f"{key} {short(number, 80)} is not a number from 0 on")
    rule: Rule = "approx" if "value" in value else ""
    return rule, value.get("value"), float(value.get("abs", 0.0)), float(value.get("rel", 0.0))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more if names else "none"


def _line(document: Document, name: str, key: str) -> int:
    path = (name, *key.split(".")) if key else (name,)
    return paths.nearest_line(document.lines, path) or 1
