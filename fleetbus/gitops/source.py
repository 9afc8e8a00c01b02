"""The text of one file: what it holds and where, the limits for it, and what may be wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from bus.config import paths
from bus.errors import ConfigError

MAX_BYTES: Final = 256 * 1024
"""Of a file."""
MAX_DEPTH: Final = 32
"""Mappings and lists within each other, the outermost one counted."""
MAX_VALUES: Final = 20_000
"""Mappings, lists and scalars of a file, those behind an alias counted at each use."""
MAX_TEXT: Final = 4 * 1024 * 1024
"""Characters of all scalars and of all dotted paths, counted in the same way."""

# Line breaks to YAML 1.1 and none to 1.2, so the parsers disagree about them.
_NOT_ALLOWED: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]"
)
SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""Half a character, which an escape can bring in; UTF-8 has none."""
_BREAK: Final = re.compile(r"\r\n|\r|\n")


class InvalidDocument(ConfigError):
    """A file cannot be read. ``line`` and ``column`` count from 1."""

    def __init__(self, file: str, line: int, column: int, problem: str) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.problem = problem
        super().__init__(f"{file}:{line}:{column}: {problem}")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds."""

    file: str
    values: dict[str, Any]
    lines: dict[str, int]
    """By dotted path (``bus.config.paths.shown``): the line of the key, counted from 1. Nothing
    inside a list has one. What stands behind an alias has the line where it is written."""


def text(data: bytes, file: str) -> str:
    """``data`` decoded, without a byte order mark.

    Raises:
        InvalidDocument: it is too long, not UTF-8, or has control characters.
    """
    if len(data) > MAX_BYTES:
        raise InvalidDocument(file, 1, 1, too_long(len(data)))
    try:
        decoded = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        line, column = position(error.object[: error.start].decode(), error.start)
        raise InvalidDocument(
            file,
            line,
            column,
            f"byte 0x{error.object[error.start]:02x} is not UTF-8: save the file as UTF-8",
        ) from None
    if bad := _NOT_ALLOWED.search(decoded):
        raise InvalidDocument(
            file,
            *position(decoded, bad.start()),
            f"the character U+{ord(bad[0]):04X} cannot be in a file as such: remove it, or write "
            f'it as "\\u{ord(bad[0]):04x}" in double quotes',
        )
    return decoded


def position(whole: str, index: int) -> tuple[int, int]:
    """Line and column, counted from 1, of the character at ``index``."""
    line, start = 1, 0
    for found in _BREAK.finditer(whole, 0, index):
        line, start = line + 1, found.end()
    return line, min(index, len(whole)) - start + 1


@dataclass(slots=True)
class Node:
    """A value where it stands in a file."""

    line: int
    column: int
    value: Any
    """A scalar, a list of nodes, or a mapping of names to (node of the key, node of the value)."""


class Expansion:
    """Turns nodes, which may be shared, into a ``Document``, within the limits."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: dict[str, int] = {}
        self._values = 0
        self._text = 0

    def document(self, root: Node) -> Document:
        """
        Raises:
            InvalidDocument: it is not a mapping, or goes over a limit.
        """
        if not isinstance(root.value, dict):
            self.fail(
                root,
                f"the top level is {kind(root.value)}, and it must be a mapping: "
                "write lines such as 'name: value'",
            )
        values = self._plain(root, "", 1, True)
        return Document(self._file, values, self._lines)

    def fail(self, node: Node, problem: str) -> NoReturn:
        raise InvalidDocument(self._file, node.line, node.column, problem)

    def _plain(self, node: Node, prefix: str, depth: int, noted: bool) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            self.fail(
                node,
                f"more than {MAX_VALUES} values, those behind aliases counted at each use: split "
                "the file, or use fewer aliases",
            )
        value = node.value
        if isinstance(value, str):
            self._weigh(node, len(value))
            return value
        if not isinstance(value, (dict, list)):
            return value
        if depth > MAX_DEPTH:
            too_deep(self._file, node.line, node.column)
        if isinstance(value, list):
            return [self._plain(one, "", depth + 1, False) for one in value]
        return dict(self._members(value, prefix, depth, noted))

    def _members(
        self, members: dict[str, tuple[Node, Node]], prefix: str, depth: int, noted: bool
    ) -> Iterator[tuple[str, Any]]:
        for name, (key, below) in members.items():
            path = ""
            if noted:
                path = prefix + paths.shown((name,))
                self._lines[path] = key.line
            self._weigh(key, len(path) + len(name))
            yield name, self._plain(below, f"{path}.", depth + 1, noted)

    def _weigh(self, node: Node, size: int) -> None:
        self._text += size
        if self._text > MAX_TEXT:
            self.fail(
                node,
                f"more than {MAX_TEXT} characters in its values and the paths to them: use fewer "
                "aliases, or shorter names",
            )


def too_long(size: int) -> str:
    """What to say of a file of ``size`` bytes."""
    return (
        f"{size} bytes, and a file may have {MAX_BYTES}: split it by group or instance, or keep "
        "bulk data elsewhere and refer to it"
    )


def too_deep(file: str, line: int, column: int) -> NoReturn:
    """Refuse what is nested too deep."""
    raise InvalidDocument(
        file, line, column, f"nested deeper than {MAX_DEPTH} levels: make the structure flatter"
    )


def twice(file: str, name: str, first: Node, line: int, column: int) -> NoReturn:
    """Refuse a key that is there already."""
    raise InvalidDocument(
        file,
        line,
        column,
        f"key {shortened(name)} is in this mapping twice, first on line {first.line}: "
        "remove one of them",
    )


def kind(value: Any) -> str:
    """What people call a value of this type."""
    match value:
        case None:
            return "empty (null)"
        case bool():
            return f"{str(value).lower()} (a boolean)"
        case int():
            return f"{value} (an integer)"
        case float():
            return f"{value} (a number)"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def shortened(name: str) -> str:
    """``name`` quoted, and short enough for a message."""
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
