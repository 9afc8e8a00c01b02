"""Label expressions that choose agents: ``env=prod, zone in (a,b), !gpu``. All terms must hold.

``agent``, ``site`` and ``cap`` are no labels: the id, where it runs, and what it can do.
"""

import json

from edge.names import token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Term = tuple[str, list[str], bool]
    """A label, the values that it may have (none: it only has to be there), and whether the
    opposite must hold."""

WORD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-"


def matches(
    text: str, agent: str, site: str, labels: "dict[str, str]", capabilities: "Iterable[str]"
) -> bool:
    """Whether an agent with this id, site, labels and capabilities is meant.

    Raises:
        ValueError: the expression cannot be parsed.
    """
    for key, values, negated in parse(text):
        if key == "cap":
            mine = list(capabilities)
        else:
            own = agent if key == "agent" else site if key == "site" else labels.get(key)
            mine = [] if own is None else [own]
        found = any(one in values for one in mine) if values else bool(mine)
        if found == negated:
            return False
    return True


def parse(text: str) -> "list[Term]":
    """The terms of an expression.

    Raises:
        ValueError: naming the character of the first mistake.
    """
    if len(text.encode()) > 4096:
        raise ValueError("selector: longer than 4096 bytes")
    found: list[Term] = []
    at = _skip(text, 0)
    if at == len(text):
        return found
    while True:
        negated = text[at : at + 1] == "!"
        key, at = _word(text, _skip(text, at + negated), WORD)
        if not key or key[0] in "./-":
            _fail(text, at, "a label's name")
        values: list[str] = []
        if not negated:
            operator, next_ = _word(text, at, "=!" if text[at : at + 1] in "=!" else WORD)
            if operator in ("=", "==", "!="):
                value, at = _value(text, next_)
                values.append(value)
                negated = operator == "!="
            elif operator in ("in", "notin"):
                at = _take(text, next_, "(")
                while True:
                    value, at = _value(text, at)
                    values.append(value)
                    if text[at : at + 1] != ",":
                        break
                    at = _skip(text, at + 1)
                at = _take(text, at, ")")
                negated = operator == "notin"
        if key in ("agent", "site", "cap"):
            for value in values:
                token("selector: " + key, value)
        found.append((key, values, negated))
        if at == len(text):
            break
        at = _take(text, at, ",")
    if len(found) > 64:
        raise ValueError("selector: more than 64 terms")
    return found


def _fail(text: str, at: int, what: str) -> None:
    raise ValueError(f"selector {text[:100]}: expected {what} at character {at + 1}")


def _skip(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


def _take(text: str, at: int, what: str) -> int:
    if text[at : at + 1] != what:
        _fail(text, at, what)
    return _skip(text, at + 1)


def _word(text: str, at: int, legal: str) -> "tuple[str, int]":
    """The characters from ``at`` that are ``legal``, and where what follows begins."""
    end = at
    while end < len(text) and text[end] in legal:
        end += 1
    return text[at:end], _skip(text, end)


def _value(text: str, at: int) -> "tuple[str, int]":
    if text[at : at + 1] != '"':
        value, after = _word(text, at, WORD + ":@+")
        if not value:
            _fail(text, at, "a value")
        return value, after
    end = at + 1
    while end < len(text) and text[end] != '"':
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        _fail(text, at, "the quote's end")
    return str(json.loads(text[at : end + 1])), _skip(text, end + 1)
