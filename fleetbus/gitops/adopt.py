"""What was edited on the bus, written as a diff of the repository's files: to review and commit."""

from __future__ import annotations

import io
from difflib import unified_diff
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from bus.config import layers
from bus.config.past import State
from bus.wire.config import ConfigLayer
from fleetbus.gitops import layout
from fleetbus.gitops.repository import Commit, Repository
from fleetbus.gitops.source import MAX_BYTES
from fleetbus.gitops.tree import SELECTOR, VALUES

EVERYBODY = "cap"
"""Selector of a group that was set without one: every agent that offers anything."""


def adopted(repository: Repository, commit: Commit, fleet: str, state: State) -> str:
    """A unified diff from ``commit`` to what is on the bus, for ``git apply``; empty if there is
    no difference. Comments and order of the files stay as they are. Blocks.

    Raises:
        RepositoryError: the repository cannot be read.
    """
    files = repository.files(commit, layout.FOLDERS)
    edited = {one.layer for one in state.edited}
    if state.layers.head is None:  # it has never synced: all that was set there
        edited = set(state.layers.stored)
    parts = []
    for name in sorted(edited, key=layers.order):
        path = path_of(name, fleet)
        old = repository.read(files[path], MAX_BYTES).decode() if path in files else ""
        stored = state.layers.stored.get(name)
        new = "" if stored is None else _rewritten(old, name, stored.layer)
        parts.append(_diff(path, old, new))
    return "".join(parts)


def path_of(layer: str, fleet: str) -> str:
    """The file of a layer."""
    if layer == layers.GLOBAL:
        return layout.GLOBAL
    if layer == layers.FLEET:
        return f"fleets/{fleet}.yaml"
    kind, _, name = layer.partition(".")
    return f"{kind}s/{name}.yaml"


def _rewritten(old: str, name: str, layer: ConfigLayer) -> str:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100
    wanted: dict[str, Any] = dict(layer.values)
    if name.startswith(layers.GROUP):
        wanted = {SELECTOR: layer.selector or EVERYBODY, VALUES: layer.values}
    document = yaml.load(old) if old.strip() else None
    if not isinstance(document, CommentedMap):
        document = CommentedMap()
    if _plain(document) == wanted:
        return old
    _update(document, wanted)
    if not document:
        return ""
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _update(document: CommentedMap, wanted: dict[str, Any]) -> None:
    for name in [name for name in document if name not in wanted]:
        del document[name]
    for name, value in wanted.items():
        old = document.get(name)
        if isinstance(old, CommentedMap) and isinstance(value, dict):
            _update(old, value)
        elif name not in document or _plain(old) != value:
            document[name] = value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def _diff(path: str, old: str, new: str) -> str:
    if old == new:
        return ""
    header = f"diff --git a/{path} b/{path}\n"
    if not old:
        header += "new file mode 100644\n"
    elif not new:
        header += "deleted file mode 100644\n"
    lines = []
    before, after = f"a/{path}" if old else "/dev/null", f"b/{path}" if new else "/dev/null"
    for line in unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), before, after
    ):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return header + "".join(lines)
