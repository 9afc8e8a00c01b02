"""Gives names that nobody else may know shorter ones: locals, and what begins with one ``_``.

Safe by construction: a name is left alone where it might be reached in another way, and a new
name is never one that is in use. Nothing here does I/O.
"""

from __future__ import annotations

import ast
import builtins
import keyword
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from string import ascii_lowercase
from typing import Final

FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
REFLECTION: Final = frozenset({"locals", "vars", "eval", "exec"})
"""A function that calls one of these may look at its locals by name."""


def shorten(modules: Mapping[str, ast.Module], keep: Collection[str]) -> None:
    """Rename in all ``modules`` of a package, in place.

    Args:
        keep: names that others use, so that they stay: those in the agent file.
    """
    everything = [node for tree in modules.values() for node in ast.walk(tree)]
    texts = {
        node.value
        for node in everything
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    passed = {node.arg for node in everything if isinstance(node, ast.keyword) and node.arg}
    taken = {name for node in everything for name in _names(node)} | texts | set(keep)
    private = _defined(everything) - texts - passed - set(keep)
    uses = Counter(name for node in everything for name in _names(node) if name in private)
    fresh = ("_" + one for one in _short() if "_" + one not in taken)
    chosen = {name: new for (name, _), new in zip(uses.most_common(), fresh, strict=False)}
    chosen = {name: new for name, new in chosen.items() if len(new) < len(name)}
    for node in everything:
        _rename(node, chosen)
    for tree in modules.values():
        _Functions(passed, set(keep)).outermost(tree)


def names_in(tree: ast.Module) -> set[str]:
    """All names and texts of a module that is not renamed itself."""
    found = {name for node in ast.walk(tree) for name in _names(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return found


class _Functions:
    """Renames the locals of one module's functions."""

    def __init__(self, passed: set[str], keep: set[str]) -> None:
        self._passed = passed
        self._keep = keep

    def outermost(self, tree: ast.Module) -> None:
        globals_ = {
            name
            for node in _outside_functions(tree)
            for name in _names(node)
            if not isinstance(node, ast.Attribute)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                globals_.update(node.names)
        globals_ |= set(dir(builtins))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef):
                for one in node.body:
                    if isinstance(one, FUNCTIONS):
                        self._function(one, globals_, isinstance(node, ast.ClassDef))

    def _function(
        self, top: ast.FunctionDef | ast.AsyncFunctionDef, globals_: set[str], method: bool
    ) -> None:
        nodes = list(ast.walk(top))
        if any(isinstance(node, ast.ClassDef) for node in nodes):
            return
        plain = [node for node in nodes if not isinstance(node, ast.Attribute | ast.keyword)]
        used = {name for node in plain if node is not top for name in _names(node)}
        if used & REFLECTION:
            return
        # One map for the function and those inside: a name that is local in any of them and
        # known to the module nowhere is the same name in all.
        local = {one.id for one in nodes if isinstance(one, ast.Name) and _binds(one)}
        local |= {one.name for one in nodes if isinstance(one, ast.ExceptHandler) and one.name}
        local |= {one.name for one in nodes if isinstance(one, FUNCTIONS) and one is not top}
        params = list(self._params(top, nodes, method))
        local |= {one.arg for one in params}
        fixed = {name for one in nodes if isinstance(one, ast.Global) for name in one.names}
        fixed |= {a.asname or a.name for a in nodes if isinstance(a, ast.alias)}
        fixed |= {a.arg for a in nodes if isinstance(a, ast.arg) and a not in params}
        local -= fixed | globals_
        uses = Counter(name for node in plain for name in _names(node) if name in local)
        taken = used | globals_ | self._passed
        fresh = (one for one in _short() if one not in taken)
        chosen = {name: new for (name, _), new in zip(uses.most_common(), fresh, strict=False)}
        chosen = {name: new for name, new in chosen.items() if len(new) < len(name)}
        for node in plain:
            if node is not top:
                _rename(node, chosen)

    def _params(
        self, top: ast.FunctionDef | ast.AsyncFunctionDef, nodes: list[ast.AST], method: bool
    ) -> Iterator[ast.arg]:
        """Parameters that are never given by name: ``self``, and those of private functions."""
        if method and top.args.args and top.args.args[0].arg == "self":
            yield top.args.args[0]
        for one in nodes:
            if isinstance(one, ast.Lambda) or (
                isinstance(one, FUNCTIONS) and (one is not top or _is_private(one.name))
            ):
                own = one.args
                for arg in [*own.args, *filter(None, (own.vararg, own.kwarg))]:
                    if arg.arg not in self._passed and arg.arg not in self._keep:
                        yield arg


def _defined(nodes: Iterable[ast.AST]) -> set[str]:
    """Private names that these modules make themselves."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute | ast.Name) and _binds(node):
            found.update(_names(node))
        elif isinstance(node, FUNCTIONS):
            found.add(node.name)
        elif isinstance(node, ast.alias) and node.asname:
            found.add(node.asname)
    return {name for name in found if _is_private(name)}


def _is_private(name: str) -> bool:
    return len(name) > 1 and name[0] == "_" and name[1] != "_"


def _binds(node: ast.Name | ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store | ast.Del)


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that are no part of a function's body; the functions themselves are."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _outside_functions(node)


def _names(node: ast.AST) -> list[str]:
    """The names in one node, without those inside it."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.alias):
        return [name for name in (node.name, node.asname) if name]
    if isinstance(node, ast.Global | ast.Nonlocal):
        return list(node.names)
    name = getattr(node, "name", None)
    return [name] if isinstance(name, str) else []


def _rename(node: ast.AST, chosen: Mapping[str, str]) -> None:
    if isinstance(node, ast.Global | ast.Nonlocal):
        node.names = [chosen.get(name, name) for name in node.names]
        return
    for field in ("id", "attr", "arg", "name", "asname"):
        old = getattr(node, field, None)
        if isinstance(old, str) and old in chosen:
            setattr(node, field, chosen[old])


def _short() -> Iterator[str]:
    """``a``, ``b`` …, ``aa`` …"""
    for length in (1, 2, 3):
        for letters in product(ascii_lowercase, repeat=length):
            name = "".join(letters)
            if not keyword.iskeyword(name):
                yield name
