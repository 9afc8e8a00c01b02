"""Writes a syntax tree with as few characters as Python needs. Nothing here does I/O."""

from __future__ import annotations

import ast
import io
import tokenize
from typing import Final

LITERAL_ENDS: Final = {"FSTRING_START": "FSTRING_END", "TSTRING_START": "TSTRING_END"}
"""From Python 3.12 on these tokens are what stands between the quotes, too."""


def squeezed(tree: ast.Module) -> str:
    """Source text that parses to ``tree``.

    Raises:
        ValueError: it does not: a fault of this module.
    """
    lines = _joined([_line(one) for one in _logical_lines(ast.unparse(tree))])
    text = "".join(line + "\n" for line in lines)
    if ast.dump(ast.parse(text)) != ast.dump(ast.parse(ast.unparse(tree))):
        raise ValueError("squeezing the source has changed what it says")
    return text


def _logical_lines(source: str) -> list[tuple[int, list[str]]]:
    """Depth and tokens of each logical line; a string, whatever is in it, is one token."""
    found: list[tuple[int, list[str]]] = []
    depth = 0
    words: list[str] = []
    rows = source.splitlines(keepends=True)
    opened: list[tuple[int, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name in LITERAL_ENDS:
            opened.append(token.start)
        elif opened:
            if name in LITERAL_ENDS.values():
                start = opened.pop()
                if not opened:
                    words.append(_between(rows, start, token.end))
        elif name == "INDENT":
            depth += 1
        elif name == "DEDENT":
            depth -= 1
        elif name == "NEWLINE":
            found.append((depth, words))
            words = []
        elif name not in ("NL", "COMMENT", "ENDMARKER"):
            words.append(token.string)
    return found


def _between(rows: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return rows[start[0] - 1][start[1] : end[1]]
    middle = rows[start[0] : end[0] - 1]
    return "".join([rows[start[0] - 1][start[1] :], *middle, rows[end[0] - 1][: end[1]]])


def _line(line: tuple[int, list[str]]) -> tuple[int, str]:
    depth, words = line
    text = ""
    for word in words:
        # Two words need a blank between them; a word and a sign do not.
        if text and _wordy(text[-1]) and _wordy(word[0]):
            text += " "
        text += word
    return depth, text


def _wordy(character: str) -> bool:
    return character.isalnum() or character == "_" or ord(character) > 127


def _joined(lines: list[tuple[int, str]]) -> list[str]:
    """Lines with simple statements of one block in one, and short blocks behind their colon."""
    found: list[tuple[int, str]] = []
    for depth, text in lines:
        simple = not _begins_block(text)
        if simple and found and found[-1][0] == depth and not _begins_block(found[-1][1]):
            found[-1] = (depth, f"{found[-1][1]};{text}")
        else:
            found.append((depth, text))
    made: list[tuple[int, str]] = []
    for at, (depth, text) in enumerate(found):
        above = made[-1] if made else (0, "")
        alone = at + 1 == len(found) or found[at + 1][0] < depth
        opens = above[0] == depth - 1 and above[1].endswith(":") and at and found[at - 1] == above
        if alone and opens and not _begins_block(text):
            made[-1] = (above[0], above[1] + text)
        else:
            made.append((depth, text))
    return [" " * depth + text for depth, text in made]


def _begins_block(text: str) -> bool:
    """Whether a line cannot share its own with the statement before. No body has joined it yet."""
    return text.startswith("@") or text.endswith(":")
