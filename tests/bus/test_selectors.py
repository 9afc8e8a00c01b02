from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus.errors import InvalidSelector
from bus.selectors import MAX_BYTES, MAX_TERMS, Scope, Selector, Term, narrowest

AGENT: Mapping[str, str] = {"env": "prod", "zone": "a", "gpu": "", "note": 'say "hi", ok'}


def chosen(text: str, labels: Mapping[str, str] = AGENT) -> bool:
    return Selector.parse(text).matches("a1", "berlin", labels, ["summarize", "search"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        (" \t", True),
        ("env=prod", True),
        ("env==prod", True),
        ("env=dev", False),
        ("env=Prod", False),
        ("env!=dev", True),
        ("env!=prod", False),
        ("zone in (a,b)", True),
        ("zone in (b)", False),
        ("zone notin (b,c)", True),
        ("zone notin (a,c)", False),
        # A missing label is unlike every value, and equals none.
        ("tier!=web", True),
        ("tier notin (web)", True),
        ("tier=web", False),
        ("tier in (web)", False),
        ("tier", False),
        ("!tier", True),
        # An empty value is a value.
        ("gpu", True),
        ("!gpu", False),
        ('gpu=""', True),
        ('tier=""', False),
        ('gpu in ("",a100)', True),
        (r'note="say \"hi\", ok"', True),
        # All terms must hold, even of one label.
        ("env=prod,zone=a", True),
        ("env=prod,zone=b", False),
        ("env=prod,env=dev", False),
        ("env!=dev,env!=test", True),
        # The names that are no labels.
        ("agent=a1", True),
        ("agent=a2", False),
        ("agent!=a2", True),
        ("agent in (a1,a2)", True),
        ("agent", True),
        ("!agent", False),
        ("site=berlin", True),
        ("site notin (berlin,bonn)", False),
        ("site", True),
        ("cap=summarize", True),
        ("cap=translate", False),
        ("cap in (translate,search)", True),
        ("cap in (translate,count)", False),
        ("cap=summarize,cap=search", True),
        ("cap=summarize,cap=translate", False),
        ("cap!=translate", True),
        ("cap!=search", False),
        ("cap notin (translate,search)", False),
        ("cap", True),
        ("!cap", False),
        # Operators are words only where an operator can be.
        ("in!=x,notin!=y,!in", True),
    ],
)
def test_matches(text: str, expected: bool) -> None:
    assert chosen(text) is expected


def test_labels_cannot_pose_as_what_is_no_label() -> None:
    fake = {"agent": "a2", "site": "bonn", "cap": "translate"}
    assert not chosen("agent=a2", fake)
    assert not chosen("site=bonn", fake)
    assert not chosen("cap=translate", fake)


def test_an_agent_that_offers_nothing() -> None:
    for text, expected in (("cap", False), ("!cap", True), ("cap!=x", True), ("cap=x", False)):
        assert Selector.parse(text).matches("a1", "berlin", {}, ()) is expected


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        ("  ", ""),
        ("env == prod", "env=prod"),
        ("b , a,a", "a,b"),
        ("zone in ( b,a , b )", "zone in (a,b)"),
        ("zone in (a)", "zone=a"),
        ("zone notin(a)", "zone!=a"),
        ("! gpu", "!gpu"),
        ('x="plain"', "x=plain"),
        ('x="two words"', 'x="two words"'),
        ('x="é"', r'x="\u00e9"'),
        ('x=""', 'x=""'),
        ("example.com/team=a:b@c+d/e-f.g_h", "example.com/team=a:b@c+d/e-f.g_h"),
        ("in in (in,notin)", "in in (in,notin)"),
        ("notin", "notin"),
        ("inner,input=x", "inner,input=x"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    selector = Selector.parse(text)
    assert str(selector) == canonical
    assert Selector.parse(canonical) == selector
    assert hash(Selector.parse(canonical)) == hash(selector)


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        (",", 0, "a label's name"),
        ("a,", 2, "a label's name"),
        ("a,,b", 2, "a label's name"),
        ("=x", 0, "a label's name"),
        ("!", 1, "a label's name"),
        ("!!a", 1, "a label's name"),
        ("é=x", 0, "a label's name"),
        ('"a"=x', 0, "a label's name"),
        ("a=", 2, "expected a value"),
        ("a= ,b", 3, "expected a value"),
        ("a=*", 2, "expected a value"),
        ("a=b c", 4, "a comma or the end"),
        ("a b", 2, "a comma or the end"),
        ("a>1", 1, "a comma or the end"),
        ("a=b)", 3, "a comma or the end"),
        ("a=b=c", 3, "a comma or the end"),
        ("a==!b", 3, "expected a value"),
        ("!a=b", 2, "a comma or the end"),
        ("a in", 4, "expected ( and a list"),
        ("a in b", 5, "expected ( and a list"),
        ("a in ()", 6, "expected a value"),
        ("a in (b,)", 8, "expected a value"),
        ("a in (b", 7, "a comma or )"),
        ("a notin (b c)", 11, "a comma or )"),
        ('a="b', 2, "the quote is not closed"),
        ('a="b\\"', 2, "the quote is not closed"),
        (r'a="\x"', 2, "not a JSON string"),
        ('a="\n"', 2, "not a JSON string"),
        ("agent=a.b", 6, "agent name 'a.b' is not allowed"),
        ('site="> "', 5, "site name '> ' is not allowed"),
        ("cap in (a,b.c)", 10, "capability name 'b.c' is not allowed"),
        ('agent!=""', 7, "agent name '' is not allowed"),
    ],
)
def test_mistakes_are_located(text: str, position: int, problem: str) -> None:
    with pytest.raises(InvalidSelector) as caught:
        Selector.parse(text)
    assert caught.value.position == position
    assert problem in caught.value.problem
    assert caught.value.expression == text


def test_limits() -> None:
    terms = [f"k{n}" for n in range(MAX_TERMS)]
    assert len(Selector.parse(",".join(terms)).terms) == MAX_TERMS
    with pytest.raises(InvalidSelector, match="more than 64 terms"):
        Selector.parse(",".join([*terms, "one"]))
    longest = "k=" + "v" * (MAX_BYTES - 2)
    assert str(Selector.parse(longest)) == longest
    with pytest.raises(InvalidSelector, match="longer than 4096 bytes") as caught:
        Selector.parse(longest + "v")
    assert len(str(caught.value)) < 300
    # Bytes, not characters, count; and so does the canonical form, which is what is sent.
    with pytest.raises(InvalidSelector, match="longer than 4096 bytes"):
        Selector.parse('k="' + "é" * 2046 + '"')
    with pytest.raises(InvalidSelector, match="canonical form is longer"):
        Selector.parse('k="' + "é" * 1000 + '"')


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("", Scope("all")),
        ("env=prod", Scope("all")),
        ("agent=a1", Scope("agent", "a1")),
        ("agent in (a1)", Scope("agent", "a1")),
        ("site=berlin", Scope("site", "berlin")),
        ("cap=search", Scope("cap", "search")),
        ("env=prod,cap=search,site=berlin,agent=a1", Scope("agent", "a1")),
        ("env=prod,cap=search,site=berlin", Scope("site", "berlin")),
        ("env=prod,cap=search,site!=berlin", Scope("cap", "search")),
        ("agent in (a1,a2)", Scope("all")),
        ("agent!=a1", Scope("all")),
        ("site,cap,agent", Scope("all")),
        ("cap in (a,b),cap=c", Scope("cap", "c")),
    ],
)
def test_narrowest(text: str, scope: Scope) -> None:
    assert narrowest(Selector.parse(text)) == scope


# No deadline: the machine that runs this may be busy.
PATIENT = settings(deadline=None)

TOKENS = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
KEYS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,8}", fullmatch=True).filter(
    lambda key: key not in ("agent", "site", "cap")
)
TERMS = st.builds(Term, KEYS, st.frozensets(st.text(max_size=6), max_size=3), st.booleans()) | (
    st.builds(
        Term,
        st.sampled_from(["agent", "site", "cap"]),
        st.frozensets(TOKENS, max_size=3),
        st.booleans(),
    )
)


@PATIENT
@given(st.lists(TERMS, max_size=6))
def test_canonical_form_parses_back(terms: list[Term]) -> None:
    selector = Selector(tuple(terms))
    text = str(selector)
    assert text.isascii()
    assert text.isprintable()
    assert Selector.parse(text) == selector
    assert str(Selector.parse(text)) == text
    assert Selector(tuple(reversed(terms))) == selector


LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))
SIMPLE = st.builds(Term, st.sampled_from("ab"), st.frozensets(st.sampled_from("xy")), st.booleans())


@PATIENT
@given(st.lists(SIMPLE, max_size=3), LABELS)
def test_terms_are_and_and_negation_is_not(terms: list[Term], labels: dict[str, str]) -> None:
    def alone(term: Term) -> bool:
        return Selector((term,)).matches("a1", "berlin", labels, ())

    assert Selector(tuple(terms)).matches("a1", "berlin", labels, ()) is all(map(alone, terms))
    for term in terms:
        assert alone(term) is not alone(Term(term.key, term.values, not term.negated))


SYNTAX = st.text(st.sampled_from('ab=!,() "\\in') | st.characters(), max_size=30)


@PATIENT
@given(SYNTAX)
@example("\ud800")
@example('a="\\ud800"')
@example('a="' + "\\" * 50)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    position, selector = 0, Selector()
    try:
        selector = Selector.parse(text)
    except InvalidSelector as problem:
        position = problem.position
    assert 0 <= position <= len(text)
    assert Selector.parse(str(selector)) == selector


@PATIENT
@given(st.text(max_size=20))
def test_every_value_can_be_asked_for_in_quotes(value: str) -> None:
    selector = Selector.parse(f"note={json.dumps(value)}")
    assert selector.matches("a1", "berlin", {"note": value}, ())
    assert not selector.matches("a1", "berlin", {"note": value + "x"}, ())
