"""Where things are in a configuration repository, and what a file must be called. Pure.

::

    global.yaml              schema.json
    fleets/<fleet>.yaml      groups/<nn>-<name>.yaml
    instances/<agent>.yaml   golden/<name>.yaml

Anything else at the top is not ours and is left alone, and so are names that begin with a dot and
READMEs.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from bus.config import layers
from bus.errors import InvalidLayer
from fleetbus.gitops.problems import Problem

GLOBAL: Final = "global.yaml"
SCHEMA: Final = "schema.json"
GOLDEN: Final = "golden"
FOLDERS: Final = ("fleets", "groups", "instances", GOLDEN)
LAYOUT: Final = (
    "global.yaml, fleets/<fleet>.yaml, groups/<nn>-<name>.yaml, instances/<agent>.yaml, schema.json"
)

_NEAR: Final = {
    # People's slips, and where the files belong.
    "global.yml": GLOBAL,
    "global.json": GLOBAL,
    "schema.yaml": SCHEMA,
    "schema.yml": SCHEMA,
    "fleet": "fleets/",
    "group": "groups/",
    "instance": "instances/",
    "agents": "instances/",
}
LOOKED_AT: Final = (*FOLDERS, "fleet", "group", "instance", "agents")
"""Folders of the top whose files are ours or may be meant to be."""
_NUMBERED: Final = re.compile(r"[0-9]{2}-.+", re.ASCII)


@dataclass(slots=True)
class Found:
    """Files of a commit, by what they are for."""

    layers: dict[str, str] = field(default_factory=dict)
    """Path by layer name, in the order in which they apply."""
    golden: list[str] = field(default_factory=list)
    schema: bool = False
    problems: list[Problem] = field(default_factory=list)


def find(files: Collection[str], odd: Mapping[str, str], fleet: str) -> Found:
    """What ``files`` are for ``fleet``.

    Args:
        odd: paths of what is no file, and what it is.
    """
    found = Found()
    named: dict[str, str] = {}
    for path in sorted(files):
        folder, _, rest = path.partition("/")
        if not rest:
            _at_the_top(path, found, named)
        elif folder in FOLDERS:
            _in_a_folder(folder, rest, fleet, found, named)
        elif folder in _NEAR and path.endswith((".yaml", ".yml")):
            found.problems.append(
                Problem("warning", path, f"not read: files like it belong in {_NEAR[folder]}")
            )
    for path, what in sorted(odd.items()):
        if path in (GLOBAL, SCHEMA, *FOLDERS) or path.startswith(tuple(f"{x}/" for x in FOLDERS)):
            found.problems.append(
                Problem("error", path, f"a {what}, and those are not followed: put the file here")
            )
    found.layers = {name: named[name] for name in sorted(named, key=layers.order)}
    _check_groups(found)
    if not found.layers:
        found.problems.append(
            Problem("error", ".", f"nothing to configure: the repository has none of {LAYOUT}")
        )
    elif layers.FLEET not in found.layers:
        found.problems.append(
            Problem("warning", f"fleets/{fleet}.yaml", f"is missing: nothing is set for {fleet!r}")
        )
    return found


def _at_the_top(path: str, found: Found, named: dict[str, str]) -> None:
    if path == GLOBAL:
        named[layers.GLOBAL] = path
    elif path == SCHEMA:
        found.schema = True
    elif path.lower() in (GLOBAL, SCHEMA) or path in _NEAR:
        right = _NEAR.get(path, path.lower())
        found.problems.append(Problem("error", path, f"not read: rename it to {right}"))


def _in_a_folder(folder: str, rest: str, fleet: str, found: Found, named: dict[str, str]) -> None:
    path = f"{folder}/{rest}"
    stem, ending = posixpath.splitext(rest)
    if rest.rpartition("/")[2].lower().startswith((".", "readme")):
        return
    if "/" in rest or ending not in (".yaml", ".yml"):
        why = "files in folders within it are not read" if "/" in rest else "only .yaml is read"
        found.problems.append(Problem("warning", path, f"ignored: in {folder}/ {why}"))
        return
    if ending == ".yml":
        ours = folder != "fleets" or stem == fleet
        found.problems.append(
            Problem(
                "error" if ours else "warning",
                path,
                f"files end in .yaml here: rename it to {folder}/{stem}.yaml",
            )
        )
        return
    if folder == GOLDEN:
        found.golden.append(path)
        return
    layer = _layer(folder, stem, fleet)
    try:
        if layer:
            named[layers.check(layer)] = path
    except InvalidLayer:
        found.problems.append(Problem("error", path, _wrong_name(folder, stem)))


def _layer(folder: str, stem: str, fleet: str) -> str:
    match folder:
        case "fleets":
            # The files of other fleets are theirs to check.
            return layers.FLEET if stem == fleet else ""
        case "groups":
            return f"{layers.GROUP}{stem}"
        case _:
            return f"{layers.INSTANCE}{stem}"


def _wrong_name(folder: str, stem: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:61] or "name"
    if folder == "instances":
        return (
            f"{stem[:80]!r} cannot be an agent: names have 1 to 64 characters of A-Z a-z 0-9 _ -; "
            f"rename it, for example to instances/{safe}.yaml"
        )
    if not _NUMBERED.fullmatch(stem):
        return (
            "groups begin with two digits, by which they are ordered: rename it, for example to "
            f"groups/50-{re.sub('^[0-9]+-?', '', safe) or 'name'}.yaml"
        )
    return (
        "a group's name has two digits, a dash and A-Z a-z 0-9 _ -, at most 64 characters: rename "
        f"it, for example to groups/{safe}.yaml"
    )


def _check_groups(found: Found) -> None:
    groups = [name for name in found.layers if name.startswith(layers.GROUP)]
    if len(groups) > layers.MAX_GROUPS:
        found.problems.append(
            Problem(
                "error",
                "groups",
                f"{len(groups)} groups, and {layers.MAX_GROUPS} is the most: join some, or use "
                "instances",
            )
        )
    first: dict[str, str] = {}
    for name in groups:
        number = name[len(layers.GROUP) :][:2]
        if (other := first.setdefault(number, name)) != name:
            found.problems.append(
                Problem(
                    "warning",
                    found.layers[name],
                    f"has the number of {found.layers[other]}: they apply in the order of their "
                    "names; give it another number if the order matters",
                )
            )
