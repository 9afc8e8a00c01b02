"""The agent file of a bundle: which agent it declares, and what lies beside it that it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleetbus.edge.parts import imports
from fleetbus.edge.problem import BundleError

RESERVED = ("main", "edge", "boot", "manifest", "__main__")


@dataclass(frozen=True, slots=True)
class AgentFile:
    """A file with an agent in it."""

    module: str
    """What it is imported as."""
    agent: str
    """The name of its agent."""
    named: bool
    """It says its id itself, as far as can be told without running it."""
    tree: ast.Module
    sources: dict[str, str]
    """Source of it and of the modules beside it that it imports, by module."""


def read(target: str) -> AgentFile:
    """Read ``FILE.py`` or ``FILE.py:NAME``. The file is not run.

    Raises:
        BundleError: naming the file, and what is wrong with it.
    """
    path, _, wanted = target.partition(":")
    file = Path(path)
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise BundleError(f"{path}: give a Python file whose name can be imported, as my_agent.py")
    if file.stem in RESERVED:
        raise BundleError(f"{path}: a device has a {file.stem} of its own: rename the file")
    sources: dict[str, str] = {}
    todo = [file]
    while todo:
        one = todo.pop()
        sources[one.stem] = _text(one)
        for name in imports(_parsed(one, sources[one.stem])):
            beside = file.parent / f"{name}.py"
            if name in sources or not beside.is_file():
                continue
            if name in RESERVED:
                raise BundleError(
                    f"{one}: it imports {beside}, and a device has a {name} of its own: rename it"
                )
            todo.append(beside)
    tree = _parsed(file, sources[file.stem])
    _check_guard(path, tree)
    agent = _agent(path, tree, wanted)
    return AgentFile(file.stem, agent, _is_named(tree, agent), tree, sources)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise BundleError(f"{file}: there is no such file") from None
    except (OSError, UnicodeError) as problem:
        raise BundleError(f"{file}: it cannot be read: {problem}") from None


def _parsed(file: Path, text: str) -> ast.Module:
    try:
        return ast.parse(text, str(file))
    except (SyntaxError, ValueError) as problem:
        raise BundleError(f"{file}: it is no Python: {problem}") from None


def _agent(path: str, tree: ast.Module, wanted: str) -> str:
    """The name of the agent: what was asked for, or the only one."""
    bound = {name.id for name in ast.walk(tree) if isinstance(name, ast.Name)}
    if wanted:
        if wanted not in bound:
            raise BundleError(f"{path}: there is no {wanted} in it: name its Agent")
        return wanted
    found = [name for name, _ in _made(tree)]
    if len(found) != 1:
        there = ", ".join(found) or "none"
        raise BundleError(f"{path}: name one Agent, as in {path}:agent; there: {there}")
    return found[0]


def _made(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """The agents that a file makes at its top level, by name."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            made = node.value.func
            name = made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name == "Agent" and isinstance(targets[0], ast.Name):
                yield targets[0].id, node.value


def _is_named(tree: ast.Module, agent: str) -> bool:
    """Whether an agent is given an id where it is made; true of one that is made elsewhere."""
    call = dict(_made(tree)).get(agent)
    if call is None:
        return True
    # A keyword without a name is ``**more``, which may hold anything.
    given = [*call.args[:1], *(one.value for one in call.keywords if one.arg in ("agent", None))]
    return any(not (isinstance(one, ast.Constant) and not one.value) for one in given)


def _check_guard(path: str, tree: ast.Module) -> None:
    """Importing the file must not run the agent already: main.py does, with its settings."""
    for node in tree.body:
        call = node.value if isinstance(node, ast.Expr) else None
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "run"
        ):
            raise BundleError(
                f"{path}:{node.lineno}: it runs the agent when it is imported: write "
                'if __name__ == "__main__": before that line'
            )
