"""What can be said of a Python source file without running it. Pure."""

from __future__ import annotations

import ast

import msgspec


class SourceFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The shape of one module."""

    lines: int
    functions: int = 0
    """Methods, nested and async functions included; lambdas not."""
    classes: int = 0
    longest: str = ""
    """Name of the function with the most lines."""
    longest_lines: int = 0
    imports: tuple[str, ...] = ()
    """Top-level names of the packages that it imports, sorted; relative imports left out."""
    problem: str = ""
    """Why it could not be parsed; then only ``lines`` is known."""


def outline(text: str) -> SourceFacts:
    """Count what a module defines and find out what it imports."""
    lines = len(text.splitlines())
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        # Real folders hold files for other versions of Python: that is a finding, no failure.
        return SourceFacts(lines, problem=f"{type(problem).__name__}: {problem}")
    functions = classes = longest_lines = 0
    longest = ""
    imports: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                functions += 1
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > longest_lines:
                    longest, longest_lines = node.name, length
            case ast.ClassDef():
                classes += 1
            case ast.Import():
                imports.update(alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                imports.add(module.partition(".")[0])
    return SourceFacts(lines, functions, classes, longest, longest_lines, tuple(sorted(imports)))
