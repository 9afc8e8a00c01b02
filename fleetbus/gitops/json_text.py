"""JSON into nodes, with the line of each key. What a scalar means is decided by ``json``."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from fleetbus.gitops import scalars
from fleetbus.gitops.source import (
    MAX_DEPTH,
    SURROGATE,
    InvalidDocument,
    Node,
    position,
    too_deep,
    twice,
)

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_BREAK: Final = re.compile(r"\r\n|\r|\n")


def node(text: str, file: str) -> Node:
    """The one value in ``text``.

    Raises:
        InvalidDocument: it is not JSON, or has what we do not allow.
    """
    reader = _Reader(text, file)
    made = reader.value(1)
    reader.end()
    return made


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._at = 0
        self._line = 1
        self._start = 0
        """Where the line begins."""
        self._decoder = json.JSONDecoder(
            parse_int=_integer, parse_float=_number, parse_constant=_number
        )

    def value(self, depth: int) -> Node:
        self._skip()
        made = Node(self._line, self._at - self._start + 1, None)
        first = self._text[self._at : self._at + 1]
        if first in ("{", "["):
            if depth > MAX_DEPTH:
                too_deep(self._file, made.line, made.column)
            made.value = self._mapping(depth) if first == "{" else self._list(depth)
        else:
            made.value = self._scalar()
        return made

    def end(self) -> None:
        self._skip()
        if self._at < len(self._text):
            self._fail("something follows the value: a file holds one, remove the rest")

    def _mapping(self, depth: int) -> dict[str, tuple[Node, Node]]:
        made: dict[str, tuple[Node, Node]] = {}
        self._at += 1
        if self._take("}"):
            return made
        while True:
            self._skip()
            key = Node(self._line, self._at - self._start + 1, None)
            if not self._text.startswith('"', self._at):
                self._fail('expected a name in double quotes (no comma before "}")')
            key.value = self._scalar()
            if key.value in made:
                twice(self._file, key.value, made[key.value][0], key.line, key.column)
            if not self._take(":"):
                self._fail("expected a colon after a name")
            made[key.value] = key, self.value(depth + 1)
            if self._take("}"):
                return made
            if not self._take(","):
                self._fail("expected a comma or }")

    def _list(self, depth: int) -> list[Node]:
        made: list[Node] = []
        self._at += 1
        if self._take("]"):
            return made
        while True:
            made.append(self.value(depth + 1))
            if self._take("]"):
                return made
            if not self._take(","):
                self._fail("expected a comma or ]")

    def _scalar(self) -> Any:
        if self._at == len(self._text):
            self._fail("the file ends where a value is expected")
        try:
            value, self._at = self._decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self._at = error.pos
            self._fail(f"{error.msg}: write JSON text in double quotes, numbers, true, false, null")
        except scalars.NotAScalar as error:
            self._fail(str(error), "")
        if isinstance(value, str) and SURROGATE.search(value):
            self._fail("half a character (\\ud800 to \\udfff): write both halves", "")
        return value

    def _take(self, symbol: str) -> bool:
        self._skip()
        if not self._text.startswith(symbol, self._at):
            return False
        self._at += 1
        return True

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        end = found.end() if found else self._at
        # Breaks are nowhere else: a string cannot have one.
        for one in _BREAK.finditer(self._text, self._at, end):
            self._line, self._start = self._line + 1, one.end()
        self._at = end

    def _fail(self, problem: str, prefix: str = "not JSON: ") -> NoReturn:
        raise InvalidDocument(
            self._file, *position(self._text, self._at), f"{prefix}{problem[:300]}"
        )


def _integer(text: str) -> int:
    # The longest that can be allowed, and a sign; longer ones cost time to convert.
    return scalars.bounded(int(text[:30]))


def _number(text: str) -> float:
    return scalars.finite(float(text), text)
