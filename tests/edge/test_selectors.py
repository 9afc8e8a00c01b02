"""Selectors on the edge mean what they mean in the rest of the fleet, and are refused alike."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus.errors import InvalidSelector
from bus.selectors import Selector
from edge import selector

AGENT, SITE, CAPS = "a1", "berlin", ("echo", "hash")
LABELS = {"env": "prod", "zone": "b", "gpu": "", "a/b.c-d": "x y", "ü": "1"}


def verdicts(text: str) -> tuple[bool | None, bool | None]:
    """Whether the edge and the fleet think that the agent is meant; None for a refusal."""
    fleet: bool | None
    edge: bool | None
    try:
        fleet = Selector.parse(text).matches(AGENT, SITE, LABELS, CAPS)
    except InvalidSelector:
        fleet = None
    try:
        edge = selector.matches(text, AGENT, SITE, LABELS, CAPS)
    except ValueError:
        edge = None
    return edge, fleet


KEYS = st.sampled_from(["env", "zone", "gpu", "a/b.c-d", "in", "notin", "missing", "_", "9", "x."])
NAMED = st.sampled_from(["agent", "site", "cap"])
WORDS = st.sampled_from(["prod", "b", "a1", "berlin", "echo", "hash", "x", "in", "a:b@c+d", "-"])
QUOTED = st.sampled_from(['"prod"', '"x y"', '""', r'"\u0062"', r'"\\"', r'"\""', '","', '"ü"'])
BLANKS = st.sampled_from(["", "", "", " ", "\t", "\n "])


@st.composite
def terms(draw: st.DrawFn) -> str:
    key = draw(KEYS | NAMED)
    value = WORDS | QUOTED
    kind = draw(st.sampled_from(["there", "not", "=", "==", "!=", "in", "notin"]))
    gap = draw(BLANKS)
    if kind == "there":
        return key + gap
    if kind == "not":
        return f"!{gap}{key}"
    if kind in ("in", "notin"):
        values = ",".join(gap + draw(value) for _ in range(draw(st.integers(1, 3))))
        return f"{key} {kind}{gap}({values}{gap})"
    return f"{key}{gap}{kind}{draw(BLANKS)}{draw(value)}"


EXPRESSIONS = st.lists(terms(), max_size=4).map(",".join)


@settings(max_examples=100, deadline=None)
@given(EXPRESSIONS)
def test_generated_expressions(text: str) -> None:
    edge, fleet = verdicts(text)
    assert edge is fleet


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An expression with some characters more, less, or others."""
    text = list(draw(EXPRESSIONS))
    odd = st.sampled_from('=!,()" \\inot\u00a0\u2003é\x00-./:') | st.characters()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 2))] = draw(st.lists(odd, max_size=2))
    return "".join(text)


@settings(max_examples=100, deadline=None)
@given(mutated())
@example("a===b")
@example("a=!b")
@example("a!b")
@example("a in:(b)")
@example("a in b")
@example("a in ()")
@example("a in (b,)")
@example("ain(b)")
@example("in in (in)")
@example("site=a b")
@example('agent="a b"')
@example('cap in (echo,"a.b")')
@example('a="\\ud800"')
@example('a="\\')
@example(",")
@example("a,")
@example("! a")
@example("!!a")
@example("!a=b")
@example("a=b c")
@example("\u00a0a\u2003=\u00a0b")
def test_mutated_expressions(text: str) -> None:
    edge, fleet = verdicts(text)
    assert edge is fleet


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=string.printable + "é\ud800") | st.text())
def test_any_text(text: str) -> None:
    edge, fleet = verdicts(text)
    assert edge is fleet


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (",".join(f"a{i}" for i in range(64)), False),
        (",".join(f"a{i}" for i in range(65)), True),
        ("a=" + "x" * 4094, False),
        ("a=" + "x" * 4095, True),
        ('a="' + "é" * 600 + '"', False),
        ('a="' + "é" * 2100 + '"', True),
    ],
)
def test_limits(text: str, refused: bool) -> None:
    edge, fleet = verdicts(text)
    assert (edge is None, fleet is None) == (refused, refused)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("env=prod,,", "selector env=prod,,: expected a label's name at character 10"),
        ("env=", "expected a value at character 5"),
        ("env in x", "expected ( at character 8"),
        ('env="x', "expected the quote's end at character"),
        ("site=a.b", "selector: site a.b: use 1 to 64 characters"),
        ("x" * 5000, "longer than 4096 bytes"),
    ],
)
def test_errors_say_where_and_what(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as problem:
        selector.parse(text)
    assert len(str(problem.value)) < 300


def test_an_agent_without_capabilities() -> None:
    assert not selector.matches("cap", "a", "s", {}, ())
    assert selector.matches("!cap", "a", "s", {}, ())
    assert selector.matches("cap notin (x)", "a", "s", {}, ())
