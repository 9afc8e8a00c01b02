"""Takes from a module of edge what a device does not need: the code that is left does the same.

Gone are docstrings, comments, annotations, what only type checkers read, ``__all__``, and the
branches of the platform that it is not for. Nothing here does I/O.
"""

from __future__ import annotations

import ast
from typing import Final

DOCUMENTED: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def stripped(source: str, name: str, micro: bool | None) -> ast.Module:
    """What is left of ``source``.

    Args:
        name: for errors.
        micro: keep MicroPython's branches (True) or CPython's; None keeps both.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source, name)
    made = _Strip(micro).visit(tree)
    if not isinstance(made, ast.Module):
        raise TypeError(f"{name}: stripping made a {type(made).__name__} of a module")
    return ast.fix_missing_locations(made)


class _Strip(ast.NodeTransformer):
    def __init__(self, micro: bool | None) -> None:
        self._micro = micro

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        super().generic_visit(node)
        # A block must have something in it; a module need not.
        if not isinstance(node, ast.Module) and getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]  # whatever has a body
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        # A text that stands alone says what the line above it is for.
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign(targets=[node.target], value=node.value))

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in ("TYPE_CHECKING", "__all__"):
            return None
        if self._micro is not None and isinstance(target, ast.Name) and target.id == "MICRO":
            node.value = ast.Constant(self._micro)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        # MicroPython has no causes.
        if self._micro:
            node.cause = None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
        taken = self._known(node.test)
        if taken is None:
            return self.generic_visit(node)
        found: list[ast.stmt] = []
        for one in node.body if taken else node.orelse:
            made = self.visit(one)
            found += made if isinstance(made, list) else [made] if made is not None else []
        return found

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        taken = self._known(node.test)
        if taken is None:
            return self.generic_visit(node)
        found: ast.AST = self.visit(node.body if taken else node.orelse)
        return found

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        first = self._known(node.values[0])
        # ``True and x`` is x, ``False or x`` too.
        if first is not None and first == isinstance(node.op, ast.And):
            rest = node.values[1:]
            only = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
            found: ast.AST = self.visit(only)
            return found
        return self.generic_visit(node)

    def _known(self, test: ast.expr) -> bool | None:
        """What a condition is on this platform, if it asks for nothing else."""
        if isinstance(test, ast.Name) and test.id == "TYPE_CHECKING":
            return False
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self._known(test.operand)
            return None if inner is None else not inner
        asks = (isinstance(test, ast.Name) and test.id == "MICRO") or (
            isinstance(test, ast.Attribute)
            and test.attr == "MICRO"
            and isinstance(test.value, ast.Name)
            and test.value.id == "port"
        )
        return self._micro if asks else None
