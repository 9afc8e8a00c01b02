"""Label expressions that choose agents, as Kubernetes writes them.

::

    env=prod, zone in (a,b), tier != "back end", disk notin (hdd,tape), gpu, !draining

All terms must hold. A label that is missing is unlike every value: ``!=`` and ``notin`` hold.
Three names are no labels: ``agent`` is the agent's id, ``site`` where it runs, and ``cap`` what
it can do: ``cap=x`` holds if it offers x, ``cap in (x,y)`` if it offers either.

A quoted value is a JSON string; an unquoted one is made of A-Z a-z 0-9 _ . / : @ + and -.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, NoReturn

from bus.errors import InvalidName, InvalidSelector
from bus.subjects import token

MAX_BYTES: Final = 4096
"""Of an expression, and of its canonical form: it travels in a message header."""
MAX_TERMS: Final = 64

_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_WORD: Final = re.compile(r"[A-Za-z0-9_./:@+-]+")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SPACE: Final = re.compile(r"\s*")
_OPERATOR: Final = re.compile(r"==|=|!=|(?:notin|in)(?![A-Za-z0-9_./-])")
_NAMED: Final = {"agent": "agent", "site": "site", "cap": "capability"}
"""Names that are no labels, and what the naming rule calls their values."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: the label ``key`` has one of ``values``, or exists if there are none."""

    key: str
    values: frozenset[str] = frozenset()
    negated: bool = False

    def __str__(self) -> str:
        if not self.values:
            return f"!{self.key}" if self.negated else self.key
        shown = sorted(map(_shown, self.values))
        if len(shown) == 1:
            return f"{self.key}{'!=' if self.negated else '='}{shown[0]}"
        return f"{self.key} {'notin' if self.negated else 'in'} ({','.join(shown)})"


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed expression. Without terms it matches every agent.

    Equal selectors have the same terms in any order; ``str`` gives their one canonical form,
    which is ASCII without control characters and parses back to an equal selector.
    """

    terms: tuple[Term, ...] = ()
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_text = {str(term): term for term in self.terms}
        object.__setattr__(self, "terms", tuple(by_text[text] for text in sorted(by_text)))
        object.__setattr__(self, "text", ",".join(sorted(by_text)))

    def __str__(self) -> str:
        return self.text

    @staticmethod
    def parse(text: str) -> Selector:
        """The selector that ``text`` stands for; parsed ones are remembered.

        Raises:
            InvalidSelector: with the position of the first mistake.
        """
        return _parse(text)

    def matches(
        self, agent: str, site: str, labels: Mapping[str, str], capabilities: Collection[str]
    ) -> bool:
        """Whether an agent with this id, site, labels and capabilities is meant."""
        for term in self.terms:
            values = term.values
            value: str | None
            match term.key:
                case "cap":
                    found = not values.isdisjoint(capabilities) if values else bool(capabilities)
                    if found == term.negated:
                        return False
                    continue
                case "agent":
                    value = agent
                case "site":
                    value = site
                case label:
                    value = labels.get(label)
            found = value is not None and (not values or value in values)
            if found == term.negated:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of the fleet that has a command subject of its own. All of it has no name."""

    kind: Literal["all", "site", "cap", "agent"]
    name: str = ""


def narrowest(selector: Selector) -> Scope:
    """The smallest scope that holds every agent which ``selector`` can match.

    A site goes before a capability: its command need not cross the links of other sites.
    """
    only = {
        term.key: next(iter(term.values))
        for term in selector.terms
        if len(term.values) == 1 and not term.negated
    }
    if "agent" in only:
        return Scope("agent", only["agent"])
    if "site" in only:
        return Scope("site", only["site"])
    if "cap" in only:
        return Scope("cap", only["cap"])
    return Scope("all")


@lru_cache(maxsize=1024)
def _parse(text: str) -> Selector:
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise InvalidSelector(f"{text[:40]}...", MAX_BYTES, f"longer than {MAX_BYTES} bytes")
    selector = Selector(_Parser(text).terms())
    if len(selector.text) > MAX_BYTES:
        raise InvalidSelector(
            f"{text[:40]}...", 0, f"its canonical form is longer than {MAX_BYTES} bytes"
        )
    return selector


def _shown(value: str) -> str:
    return value if _WORD.fullmatch(value) else json.dumps(value)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def terms(self) -> tuple[Term, ...]:
        self._skip_space()
        if self._at == len(self._text):
            return ()
        found = [self._term()]
        while self._take(","):
            if len(found) == MAX_TERMS:
                self._fail(f"more than {MAX_TERMS} terms")
            found.append(self._term())
        if self._at < len(self._text):
            self._fail("expected a comma or the end")
        return tuple(found)

    def _term(self) -> Term:
        negated = self._take("!")
        key = self._match(_KEY)
        if key is None:
            self._fail("expected a label's name")
        operator = None if negated else self._match(_OPERATOR)
        if operator is None:
            return Term(key, negated=negated)
        values = self._values(key) if operator in ("in", "notin") else {self._value(key)}
        return Term(key, frozenset(values), negated=operator in ("!=", "notin"))

    def _values(self, key: str) -> set[str]:
        if not self._take("("):
            self._fail("expected ( and a list of values")
        values = {self._value(key)}
        while self._take(","):
            values.add(self._value(key))
        if not self._take(")"):
            self._fail("expected a comma or ) in a list of values")
        return values

    def _value(self, key: str) -> str:
        start = self._at
        value = self._match(_WORD)
        if value is None:
            quoted = self._match(_QUOTED)
            if quoted is None:
                unclosed = self._text.startswith('"', self._at)
                self._fail(
                    "the quote is not closed"
                    if unclosed
                    else 'expected a value: A-Z a-z 0-9 _ . / : @ + - or anything in "quotes"'
                )
            try:
                value = str(json.loads(quoted))
            except ValueError:
                self._fail("not a JSON string", start)
        if key in _NAMED:
            try:
                token(_NAMED[key], value)
            except InvalidName as problem:
                self._fail(str(problem), start)
        return value

    def _take(self, symbol: str) -> bool:
        if not self._text.startswith(symbol, self._at):
            return False
        self._at += len(symbol)
        self._skip_space()
        return True

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        self._skip_space()
        return found[0]

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _fail(self, problem: str, at: int | None = None) -> NoReturn:
        raise InvalidSelector(self._text, self._at if at is None else at, problem)
