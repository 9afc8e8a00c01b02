"""What is left of edge's modules for a device does the same as before."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fleetbus.edge.parts import imports, sources
from fleetbus.edge.rename import names_in, shorten
from fleetbus.edge.squeeze import squeezed
from fleetbus.edge.strip import stripped
from tests.support.cli import ROOT

BEHAVIOUR = (
    *("test_clock.py", "test_ed25519.py", "test_load.py", "test_nkeys.py", "test_params.py"),
    *("test_selectors.py", "test_spool.py", "test_telemetry.py", "test_values.py", "test_wire.py"),
)
"""Tests of edge that need no server."""


def micro(source: str, target: bool | None = True) -> str:
    return squeezed(stripped(source, "t.py", target))


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ('"""Doc."""\nA = 1\n"""What A is."""\n', "A=1\n"),
        ('def f(x: int, *, y: "str" = "") -> None:\n    """Doc."""\n', "def f(x,*,y=''):pass\n"),
        ("class A(Exception):\n    'Doc.'\n", "class A(Exception):pass\n"),
        ("class A:\n    x: int\n    y: int = 2\n", "class A:y=2\n"),
        ("TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import typing\nB = 2\n", "B=2\n"),
        ("__all__ = ['a']\na = 1\n", "a=1\n"),
        ("if MICRO:\n    a = 1\nelse:\n    a = 2\n", "a=1\n"),
        ("if not port.MICRO:\n    a = 1\nb = 2\n", "b=2\n"),
        ("a = 1 if port.MICRO else 2\n", "a=1\n"),
        ("if port.MICRO and not x:\n    a = 1\n", "if not x:a=1\n"),
        ("raise A('x') from None\n", "raise A('x')\n"),
        ("if x:\n    a = 1\n    b = 2\nelse:\n    c()\n", "if x:a=1;b=2\nelse:c()\n"),
        ("if x:\n    if y:\n        a = 1\nelse:\n    b = 2\n", "if x:\n if y:a=1\nelse:b=2\n"),
        ("@d\nasync def f():\n    await g()\n", "@d\nasync def f():await g()\n"),
        ("x = f'{a!r} {b}\\r\\n' if 1 in c else 'é'\n", "x=f'{a!r} {b}\\r\\n'if 1 in c else'é'\n"),
    ],
)
def test_strip(source: str, left: str) -> None:
    assert micro(source) == left


def test_branches_of_both_platforms_stay_where_none_is_named() -> None:
    source = "if MICRO:\n    a = 1\nelse:\n    a = 2\n"
    assert micro(source, None) == "if MICRO:a=1\nelse:a=2\n"
    assert micro(source, False) == "a=2\n"


def test_squeezing_never_changes_what_is_said() -> None:
    # squeezed() compares the trees itself.
    files = [one for name in ("edge", "bus", "fleetbus") for one in (ROOT / name).rglob("*.py")]
    assert len(files) > 100
    for file in files:
        squeezed(ast.parse(file.read_text("utf-8")))


def shortened(*texts: str, keep: set[str] | None = None) -> list[str]:
    trees = {str(at): ast.parse(text) for at, text in enumerate(texts)}
    shorten(trees, keep or set())
    return [ast.unparse(tree) for tree in trees.values()]


def test_private_names_are_shortened_in_all_modules_alike() -> None:
    one = "class A:\n    def _longest(self):\n        return self._longest"
    two = "def f(a):\n    return a._longest() + a._foreign"
    assert shortened(one, two) == [
        "class A:\n\n    def _a(a):\n        return a._a",
        "def f(a):\n    return a._a() + a._foreign",
    ]


@pytest.mark.parametrize(
    "source",
    [
        # Public: others may know it, or give it by name.
        "limit = 1",
        "def outer(argument, *, keyword=1):\n    return argument + keyword",
        # Might be looked up by its name.
        "class A:\n    _hidden = 1\nx = getattr(A, '_hidden')",
        "def f():\n    local = 1\n    return locals()",
        # Known to the module, or to Python, under the same name.
        "name = 1\n\ndef f():\n    global name\n    name = 2",
        "def f():\n    import os\n    return os",
        "def _f(*, given):\n    return given",
        "def outer(value):\n    return lambda value: value",
    ],
)
def test_what_others_may_know_keeps_its_name(source: str) -> None:
    assert shortened(source) == [source]


def test_locals_are_shortened_and_do_not_collide() -> None:
    source = (
        "a = 5\n"
        "def f(first):\n"
        "    second = [third + a for third in first]\n"
        "    def inner(fourth):\n"
        "        nonlocal second\n"
        "        second = fourth\n"
        "    try:\n"
        "        inner(lambda fifth: fifth + second[0] if fifth else a)\n"
        "    except ValueError as problem:\n"
        "        raise KeyError(str(problem))\n"
        "    return second\n"
    )
    [made] = shortened(source)
    for name in ("second", "third", "inner", "fourth", "fifth", "problem"):
        assert name not in made
    before: dict[str, object] = {}
    after: dict[str, object] = {}
    exec(source, before)
    exec(made, after)
    for space in (before, after):
        # Its own variable is what the lambda sees as ``second`` in the end: itself.
        assert space["f"]([1, 2])(0) == 5  # type: ignore[operator]  # what exec made
        assert space["f"](()).__code__.co_argcount == 1  # type: ignore[operator]  # as above


def test_names_of_the_agent_file_are_left_alone() -> None:
    keep = names_in(ast.parse("agent._mine(_given=1)"))
    assert shortened("def _mine(_given): pass", keep=keep) == ["def _mine(_given):\n    pass"]


def test_every_public_name_is_there_with_its_parameters() -> None:
    known = sources("micropython")
    trees = {name: stripped(text, name, True) for name, text in known.items()}
    before = {name: public(tree) for name, tree in trees.items()}
    assert sum(len(one) for one in before.values()) > 300
    shorten(trees, set())
    assert {name: public(ast.parse(squeezed(tree))) for name, tree in trees.items()} == before


def test_no_module_needs_what_is_not_there() -> None:
    for target in ("micropython", "cpython"):
        known = sources(target)
        for name, text in known.items():
            if name != "__main__":
                tree = stripped(text, name, target == "micropython")
                modules = {
                    one for one in imports(tree, "edge") if (ROOT / f"edge/{one}.py").exists()
                }
                assert modules <= set(known), name


def test_shortened_modules_pass_the_tests_of_edge(tmp_path: Path) -> None:
    known = sources("cpython")
    trees = {name: stripped(text, name, False) for name, text in known.items()}
    keep: set[str] = set()
    (tmp_path / "tests").mkdir()
    shutil.copytree(ROOT / "tests" / "edge", tmp_path / "tests" / "edge")
    shutil.copytree(ROOT / "tests" / "wire_vectors", tmp_path / "tests" / "wire_vectors")
    shutil.copytree(
        ROOT / "tests" / "support",
        tmp_path / "tests" / "support",
        ignore=shutil.ignore_patterns("node_modules"),
    )
    for file in (tmp_path / "tests" / "edge").glob("*.py"):
        keep |= names_in(ast.parse(file.read_text("utf-8")))
    shorten(trees, keep)
    (tmp_path / "edge").mkdir()
    for name, tree in trees.items():
        (tmp_path / "edge" / f"{name}.py").write_text(squeezed(tree), "utf-8")
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\naddopts = --import-mode=importlib\n"
    )
    tests = [f"tests/edge/{name}" for name in BEHAVIOUR]
    assert all((tmp_path / one).is_file() for one in tests)
    where = "import edge, sys; print(edge.__file__)"
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    shown = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith(str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def public(tree: ast.AST, prefix: str = "") -> dict[str, list[str]]:
    """Public names of a module and of its classes; with their parameters if they are functions."""
    found: dict[str, list[str]] = {}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own = [*node.args.args, *node.args.kwonlyargs]
            found[prefix + node.name] = [one.arg for one in own if one is not own[0] or not prefix]
        elif isinstance(node, ast.ClassDef):
            found[prefix + node.name] = []
            found |= public(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            for target in ast.walk(node):
                if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                    found[prefix + target.id] = []
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {prefix + (one.asname or one.name): [] for one in node.names}
    return {
        n: p
        for n, p in found.items()
        if not n.rpartition(".")[2].startswith("_") or n.endswith("__init__")
    }
