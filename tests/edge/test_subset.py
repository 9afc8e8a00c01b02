"""The edge agent keeps to what MicroPython has: each module is read, and none is trusted."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

import pytest

EDGE = Path(__file__).parents[2] / "edge"
MODULES = sorted(path for path in EDGE.glob("*.py") if path.name != "port_cpython.py")

THERE = {
    "asyncio",
    "binascii",
    "gc",
    "hashlib",
    "io",
    "json",
    "math",
    "os",
    "random",
    "ssl",
    "struct",
    "sys",
    "time",
}
"""Modules of the standard library that MicroPython's ports have."""

MISSING = {
    "RecursionError",
    "ConnectionError",
    "ConnectionResetError",
    "ConnectionRefusedError",
    "BrokenPipeError",
    "TimeoutError",
    "FileNotFoundError",
    "FileExistsError",
    "PermissionError",
    "IsADirectoryError",
    "NotADirectoryError",
    "InterruptedError",
    "BlockingIOError",
    "ModuleNotFoundError",
    "UnicodeDecodeError",
    "UnicodeEncodeError",
    "ExceptionGroup",
    "BaseExceptionGroup",
    "Warning",
    "DeprecationWarning",
    "RuntimeWarning",
    "UserWarning",
    "ascii",
    "format",
    "vars",
    "breakpoint",
    "aiter",
    "anext",
    "__build_class__",
}
"""Built-in names that it has not, or not in all ports."""

METHODS = {
    "removeprefix",
    "removesuffix",
    "casefold",
    "title",
    "capitalize",
    "swapcase",
    "expandtabs",
    "zfill",
    "ljust",
    "rjust",
    "isidentifier",
    "isalnum",
    "isdecimal",
    "isnumeric",
    "isascii",
    "isprintable",
    "maketrans",
    "translate",
    "format_map",
    "add_note",
    "with_traceback",
    "bit_length",
    "bit_count",
    "is_integer",
    "as_integer_ratio",
    "hexdigest",
    "tobytes",
}
"""Of texts, bytes, numbers and hashes."""

ASYNCIO = {
    "CancelledError",
    "Event",
    "Lock",
    "TimeoutError",
    "create_task",
    "current_task",
    "gather",
    "open_connection",
    "run",
    "sleep",
    "wait_for",
}
"""What its asyncio has of ours."""


def parts(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs on a device: no ``if TYPE_CHECKING``, and no annotations, since the
    bundler takes both out and MicroPython does not evaluate them."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns"):
            continue
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, ast.AST):
                continue
            if isinstance(one, ast.If) and _is_for_types(one.test):
                continue
            yield one
            yield from parts(one)


def _is_for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def read(source: str) -> list[str]:
    """What breaks the rules, with its line."""
    found: list[str] = []
    tree = ast.parse(source)
    for one in [*parts(tree)]:
        problem = _problem(one)
        if problem:
            found.append(f"{getattr(one, 'lineno', 0)}: {problem}")
    return found


def _problem(one: ast.AST) -> str:
    match one:
        case ast.Import(names):
            # asyncio.events and the like are not there.
            wrong = [name.name for name in names if name.name not in THERE]
            return f"import {', '.join(wrong)}" if wrong else ""
        case ast.ImportFrom(module=module, level=level):
            known = module in THERE or (module or "").split(".")[0] == "edge"
            return "" if known and not level else f"from {module} import"
        case ast.Match() | ast.TryStar() | ast.AsyncFor():
            return type(one).__name__
        case ast.List(elts) | ast.Tuple(elts) | ast.Set(elts):
            return "star in a display" if any(isinstance(e, ast.Starred) for e in elts) else ""
        case ast.Dict(keys):
            return "star in a display" if None in keys else ""
        case ast.arguments(posonlyargs=[_, *_]):
            return "positional-only parameters"
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            inner = list(ast.walk(one))
            waits = any(isinstance(part, ast.Await) for part in inner)
            waits |= any(part.is_async for part in inner if isinstance(part, ast.comprehension))
            return "await in a comprehension" if waits else ""
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            types = any(_is_type(side) for side in (left, right))
            return "X | Y of types" if types else ""
        case ast.Subscript(value=ast.Name(id=name)) if name in _GENERICS:
            return f"{name}[...] at run time"
        case ast.Name(id=name) if name in MISSING:
            return name
        case ast.Attribute(value=ast.Name(id="asyncio"), attr=name):
            return "" if name in ASYNCIO else f"asyncio.{name}"
        case ast.Attribute(attr=name) if name in METHODS:
            return f".{name}"
        case ast.Delete(targets):
            slices = [t for t in targets if isinstance(t, ast.Subscript)]
            return "del of a slice of a bytearray" if _of_bytes(slices) else ""
        case ast.FormattedValue(format_spec=ast.JoinedStr(values=values)):
            nested = any(isinstance(value, ast.FormattedValue) for value in values)
            return "a format in a format" if nested else ""
        case ast.Call(func=ast.Attribute(attr="from_bytes" | "to_bytes"), keywords=[_, *_]):
            return "keyword arguments of from_bytes"
        case _:
            return ""


_GENERICS = {"list", "dict", "tuple", "set", "frozenset", "type"}
_TYPES = _GENERICS | {"str", "int", "float", "bool", "bytes", "object", "BaseException"}


def _is_type(side: ast.expr) -> bool:
    if isinstance(side, ast.Constant):
        return side.value is None or isinstance(side.value, str)
    return isinstance(side, ast.Name) and (
        side.id in _TYPES or (side.id[:1].isupper() and not side.id.isupper())
    )


def _of_bytes(slices: list[ast.Subscript]) -> bool:
    """Lists can; what is named as bytes here cannot."""
    return any(
        isinstance(one.slice, ast.Slice)
        and isinstance(one.value, ast.Attribute | ast.Name)
        and any(word in ast.unparse(one.value) for word in ("held", "data", "buffer", "bytes"))
        for one in slices
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_keeps_to_the_subset(path: Path) -> None:
    assert read(path.read_text(encoding="utf-8")) == []


def test_nobody_imports_the_platform_but_the_port() -> None:
    for path in EDGE.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "port.py":
            assert "import port_cpython" not in text, path
            assert "edge.port_cpython" not in text, path
            assert "edge.port_micro" not in text, path


@pytest.mark.parametrize(
    "source",
    [
        "match x:\n    case 1: pass",
        "a = [*b]",
        "a = {**b}",
        "a = 1, *b",
        "import typing",
        "from typing import Any",
        "import os.path",
        "from edgeless import x",
        "from . import port",
        "async def f():\n    return [await x for x in y]",
        "async def f():\n    return {x async for x in y}",
        "async def f():\n    async for x in y: pass",
        "asyncio.timeout(1)",
        "def f(a, /): pass",
        "A = int | None",
        "A = list[int]",
        "isinstance(x, int | str)",
        "try: pass\nexcept RecursionError: pass",
        "'x'.removeprefix('y')",
        "hashlib.sha256(b'').hexdigest()",
        "del data[:3]",
        "f'{a:>{b}}'",
        "int.from_bytes(b'', 'big', signed=True)",
    ],
)
def test_the_check_finds(source: str) -> None:
    assert read(source)


@pytest.mark.parametrize(
    "source",
    [
        "if TYPE_CHECKING:\n    from typing import Any\n    A = int | None",
        "def f(a: list[int] | None = None) -> 'X | Y': ...",
        "f(*a, **b)",
        "a = 1 | 2",
        "FLAGS = os.O_RDONLY | os.O_DIRECTORY",
    ],
)
def test_the_check_allows(source: str) -> None:
    assert read(source) == []


def test_the_names_that_are_missing_are_names() -> None:
    assert {name for name in MISSING if not hasattr(builtins, name)} == set()
