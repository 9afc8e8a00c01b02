"""YAML into nodes: the parser is PyYAML's, what its events mean is decided here.

Events come one at a time, so whatever is refused is refused before the rest is read; nothing is
ever constructed from a tag. Aliases share nodes; merge keys (``<<``) are refused, as merging is
what layers are for.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import yaml

from fleetbus.gitops import scalars
from fleetbus.gitops.source import (
    MAX_DEPTH,
    MAX_VALUES,
    SURROGATE,
    InvalidDocument,
    Node,
    kind,
    too_deep,
    twice,
)

PURE: Final = yaml.SafeLoader
FAST: Final = getattr(yaml, "CSafeLoader", PURE)
"""The same with libyaml, if PyYAML was built with it."""

_HINTS: Final = (
    ("\\t", "indent with blanks, tabs are not allowed"),
    ("cannot start any token", "put the value in quotes, and indent with blanks, not tabs"),
    ("mapping values are not allowed", "check the indent, or put text that has ': ' in quotes"),
    ("undefined alias", "write &name at a value above it"),
    ("flow", "close the bracket, and put text that has brackets or commas in quotes"),
    ("quoted scalar", "close the quote, and double each backslash"),
    ("block", "check the indent: keys of one mapping stand below each other"),
    ("expected ':'", "write 'name: value'"),
)


def node(text: str, file: str, loader: Any = FAST) -> Node:
    """The one document in ``text``; nothing is an empty mapping.

    Raises:
        InvalidDocument: it is not YAML, or has what we do not allow.
    """
    builder = _Builder(text, file)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        builder.broken(error)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidDocument(file, 1, 1, f"not YAML: {problem[:200]}") from None
    return builder.root if builder.root is not None else Node(1, 1, {})


class _Open:
    """A mapping or list that is not complete."""

    def __init__(self, made: Node) -> None:
        self.node = made
        self.key: tuple[str, Node] | None = None
        """Of a mapping: the one whose value comes next."""


class _Builder:
    def __init__(self, text: str, file: str) -> None:
        self.root: Node | None = None
        self._text = text
        self._file = file
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def take(self, event: Any) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        match event:
            case yaml.DocumentStartEvent() if self.root is not None:
                self._fail(
                    line, column, "a second document begins here: a file holds one, remove '---'"
                )
            case yaml.AliasEvent():
                self._place(self._behind(event.anchor, line, column), line, column)
            case yaml.ScalarEvent():
                made = Node(line, column, self._scalar(event, line, column))
                self._named(event, made)
                self._place(made, line, column, event)
            case yaml.CollectionStartEvent():
                mapping = isinstance(event, yaml.MappingStartEvent)
                self._check_tag(event.tag, "map" if mapping else "seq", line, column)
                made = Node(line, column, {} if mapping else [])
                self._named(event, made)
                self._place(made, line, column)
                self._stack.append(_Open(made))
                if len(self._stack) > MAX_DEPTH:
                    too_deep(self._file, line, column)
            case yaml.CollectionEndEvent():
                self._stack.pop()
            case _:
                pass

    def _scalar(self, event: Any, line: int, column: int) -> scalars.Scalar:
        text = event.value
        if SURROGATE.search(text):
            self._fail(
                line, column, 'half a character (\\ud800 to \\udfff): write "\\U0001F600" as one'
            )
        try:
            if event.tag is not None:
                return scalars.tagged(event.tag, text)
            return scalars.plain(text) if event.implicit[0] else str(text)
        except scalars.NotAScalar as problem:
            self._fail(line, column, str(problem))

    def _check_tag(self, tag: str | None, own: str, line: int, column: int) -> None:
        if tag not in (None, scalars.TAG + own):
            self._fail(line, column, str(scalars.unknown_tag(str(tag))))

    def _named(self, event: Any, made: Node) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = made

    def _behind(self, anchor: str, line: int, column: int) -> Node:
        found = self._anchors.get(anchor)
        if found is None:
            self._fail(
                line,
                column,
                f"alias *{anchor[:60]} stands for nothing: write &{anchor[:60]} at a value above, "
                "or put text that begins with * in quotes",
            )
        if any(one.node is found for one in self._stack):
            self._fail(
                line,
                column,
                f"alias *{anchor[:60]} stands inside what it stands for (line {found.line}), a "
                "cycle: refer to something else",
            )
        return found

    def _place(self, made: Node, line: int, column: int, event: Any = None) -> None:
        """``made`` is next, wherever we are."""
        self._count += 1
        if self._count > 2 * MAX_VALUES:  # each value of a mapping has a key
            self._fail(line, column, f"more than {MAX_VALUES} values: split the file")
        if not self._stack:
            empty = event is not None and event.implicit[0] and not event.value
            self.root = Node(line, column, {}) if empty else made
            return
        top = self._stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(made)
        elif top.key is None:
            name = self._key(made, line, column, event)
            if name in top.node.value:
                twice(self._file, name, top.node.value[name][0], line, column)
            top.key = name, Node(line, column, name)
        else:
            name, key = top.key
            top.node.value[name] = key, made
            top.key = None

    def _key(self, made: Node, line: int, column: int, event: Any) -> str:
        if not isinstance(made.value, str):
            what = kind(made.value)
            fix = "give it a name" if what.startswith(("a ", "empty")) else "put it in quotes"
            self._fail(line, column, f"this key is {what}, and keys must be text: {fix}")
        if made.value == "<<" and event is not None and event.implicit[0]:
            self._fail(
                line,
                column,
                "merge keys (<<) are not supported: put what is common in an earlier layer, or "
                "use an alias for the whole value",
            )
        return made.value

    def _fail(self, line: int, column: int, problem: str) -> NoReturn:
        raise InvalidDocument(self._file, line, column, problem)

    def broken(self, error: yaml.MarkedYAMLError) -> NoReturn:
        """Say what the parser found, with what may help."""
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = " ".join(str(part) for part in (error.problem, error.context) if part)
        if error.context_mark and error.context_mark.line + 1 != line:
            said += f" that begins on line {error.context_mark.line + 1}"
        at_tab = mark is not None and self._character(line, column) == "\t"
        looked = ("\\t" if at_tab else "") + said
        hint = next((hint for sign, hint in _HINTS if sign in looked), "check it and its indent")
        self._fail(line, column, f"not YAML: {said}: {hint}")

    def _character(self, line: int, column: int) -> str:
        lines = self._text.splitlines()
        return lines[line - 1][column - 1 : column] if line <= len(lines) else ""
