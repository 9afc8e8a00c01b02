"""Which modules of edge a device needs: what its agent leads to, less what it does not use.

Nothing here does I/O beyond reading source files.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from fleetbus.edge.problem import BundleError
from fleetbus.edge.strip import stripped

Target = Literal["micropython", "cpython"]

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "telemetry": ("telemetry", "sampling", "outbox"),
    "credentials": ("nkeys", "ed25519", "sha512"),
    "spool": ("spool", "segments", "position", "files", "sampling", "outbox"),
    "payloads": ("payloads",),
}
"""What an agent may do without, and its modules. They are imported when they are needed."""

SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "credentials": ("creds", "nkey"),
    "spool": ("spool",),
}
"""Settings that need a part."""

ENTRY: Final = ("__init__", "agent", "task")
PLATFORM: Final[Mapping[Target, str]] = {"micropython": "port_micro", "cpython": "port_cpython"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a part goes along, and why."""

    part: str
    taken: bool
    why: str


def choose(
    agent: ast.Module,
    given: Collection[str],
    wanted: Collection[str],
    unwanted: Collection[str],
    everything: bool,
) -> list[Choice]:
    """Decide on each part. Pure.

    Args:
        agent: the agent file.
        given: names of the settings that the device gets.
        wanted, unwanted: parts that were asked for, and asked to be left out.
        everything: take all that is not unwanted.

    Raises:
        BundleError: there is no such part, or it is needed and not wanted.
    """
    for name in [*wanted, *unwanted]:
        if name not in PARTS:
            known = ", ".join(PARTS)
            raise BundleError(f"part {name!r}: there is no such part; write one of {known}")
    made = []
    for part in PARTS:
        need = _need(part, agent, given)
        if part in unwanted:
            if part in wanted:
                raise BundleError(f"part {part}: give --with or --without, not both")
            if need and part != "payloads":
                raise BundleError(f"part {part} is needed: {need}; drop --without {part}")
            made.append(Choice(part, False, "asked for"))
        elif part in wanted or everything:
            made.append(Choice(part, True, "asked for"))
        else:
            made.append(Choice(part, bool(need), need or _absent(part)))
    return made


def modules(choices: Iterable[Choice], taken: bool) -> set[str]:
    """Modules of the parts that were taken, or those that only the others have. Pure."""
    found = {True: set[str](), False: set[str]()}
    for one in choices:
        found[one.taken].update(PARTS[one.part])
    return found[True] if taken else found[False] - found[True]


def sources(target: Target) -> dict[str, str]:
    """All modules of edge by name, with their source."""
    spec = find_spec("edge")
    if spec is None or not spec.submodule_search_locations:
        raise BundleError("package edge: it is not installed; install fleetbus anew")
    folder = Path(spec.submodule_search_locations[0])
    others = {name for platform, name in PLATFORM.items() if platform != target}
    found = {one.stem: one.read_text("utf-8") for one in sorted(folder.glob("*.py"))}
    return {name: text for name, text in found.items() if name not in others}


def reachable(known: Mapping[str, str], target: Target, left_out: Collection[str]) -> list[str]:
    """Names of the modules that an agent leads to, without those that are left out."""
    found: list[str] = []
    todo = list(ENTRY)
    while todo:
        name = todo.pop()
        if name in found or name in left_out or name not in known:
            continue
        found.append(name)
        tree = stripped(known[name], name, target == "micropython")
        todo += [one for one in imports(tree, "edge") if one in known]
    return sorted(found)


def imports(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Names of modules that ``tree`` imports: of ``package``, or at the top level."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                head, _, rest = one.name.partition(".")
                if not package:
                    yield head
                elif head == package and rest:
                    yield rest
        elif isinstance(node, ast.ImportFrom) and node.module:
            head, _, rest = node.module.partition(".")
            if not package:
                yield head
            elif head == package:
                yield from [rest] if rest else [one.name for one in node.names]


def _need(part: str, agent: ast.Module, given: Collection[str]) -> str:
    """What needs a part; empty if nothing does."""
    if part == "payloads":
        return "inputs and outputs may be too big for a message"
    if part == "telemetry":
        uses = any(isinstance(n, ast.Attribute) and n.attr == part for n in ast.walk(agent))
        return "the agent file uses it" if uses else ""
    for name in SETTINGS[part]:
        if name in given:
            return f"setting {name}"
        for node in ast.walk(agent):
            if isinstance(node, ast.keyword) and node.arg == name:
                return f"the agent file gives {name}"
            if isinstance(node, ast.Constant) and node.value in (name, f"FLEETBUS_{name.upper()}"):
                return f"the agent file names {name}"
    return ""


def _absent(part: str) -> str:
    if part in SETTINGS:
        return "no setting " + " or ".join(SETTINGS[part])
    return "the agent file does not use it"
