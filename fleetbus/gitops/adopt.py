"""What was edited on the bus, written as a diff of the repository's files: to review and commit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from difflib import unified_diff
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.anchor import Anchor
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from bus.config import layers
from bus.config.merge import canonical
from bus.config.past import State
from bus.wire.config import ConfigLayer
from fleetbus.gitops import layout
from fleetbus.gitops.documents import InvalidDocument, parse
from fleetbus.gitops.errors import RepositoryError
from fleetbus.gitops.repository import Commit, Repository
from fleetbus.gitops.source import MAX_BYTES
from fleetbus.gitops.tree import SELECTOR, VALUES

EVERYBODY = "cap"
"""Selector of a group that was set without one: every agent that offers anything."""


def adopted(repository: Repository, commit: Commit, fleet: str, state: State) -> str:
    """A unified diff from ``commit`` to what is on the bus, for ``git apply``; empty if there is
    no difference. Comments and order of the files stay as they are. Blocks.

    Raises:
        RepositoryError: the repository cannot be read, or a file is too big or no text.
    """
    files = repository.files(commit, layout.FOLDERS)
    edited = {one.layer for one in state.edited}
    if state.layers.head is None:  # it has never synced: all that was set there
        edited = set(state.layers.stored)
    parts = []
    for name in sorted(edited, key=layers.order):
        path = path_of(name, fleet)
        old = _read(repository, files[path], path) if path in files else None
        stored = state.layers.stored.get(name)
        new = "" if stored is None else rewritten(old or "", path, wanted(name, stored.layer))
        parts.append(_diff(path, old, new))
    return "".join(parts)


def _read(repository: Repository, blob: str, path: str) -> str:
    try:
        return repository.read(blob, MAX_BYTES, path).decode()
    except UnicodeDecodeError:
        raise RepositoryError(
            repository.location, f"file {path} is not UTF-8: save it as UTF-8, and commit that"
        ) from None


def path_of(layer: str, fleet: str) -> str:
    """The file of a layer."""
    if layer == layers.GLOBAL:
        return layout.GLOBAL
    if layer == layers.FLEET:
        return f"fleets/{fleet}.yaml"
    kind, _, name = layer.partition(".")
    return f"{kind}s/{name}.yaml"


def wanted(name: str, layer: ConfigLayer) -> dict[str, Any]:
    """What the file of the layer called ``name`` is to hold."""
    if name.startswith(layers.GROUP):
        return {SELECTOR: layer.selector or EVERYBODY, VALUES: layer.values}
    return dict(layer.values)


def rewritten(old: str, path: str, values: dict[str, Any]) -> str:
    """The text ``old`` of the file ``path``, edited so that it holds ``values``, with its comments
    where that can be; empty if it is to hold nothing. A file that cannot be read is written anew.
    """
    have = _values(old, path)
    if have is not None and canonical(have) == canonical(values):
        return old
    if not values:
        return ""
    if have is None:
        return _anew(path, values)
    if "\r\n" in old:  # and so it shall stay
        return rewritten(old.replace("\r\n", "\n"), path, values).replace("\n", "\r\n")
    text = _edited(old, have, values, shared=True)
    if not _holds(text, path, values):
        # What an alias stands for was edited, and only one of the places was meant.
        text = _edited(old, have, values, shared=False)
    return text if _holds(text, path, values) else _anew(path, values)


def _values(text: str, path: str) -> dict[str, Any] | None:
    """What a sync finds in ``text``; None if it cannot be read."""
    try:
        return parse(text.encode(), path).values
    except InvalidDocument:
        return None


def _holds(text: str, path: str, values: dict[str, Any]) -> bool:
    found = _values(text, path)
    return found is not None and canonical(found) == canonical(values)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100
    return yaml


def _anew(path: str, values: dict[str, Any]) -> str:
    text = _dumped(CommentedMap(values))
    if not _holds(text, path, values):
        # Characters that may only be written as escapes.
        text = _dumped(CommentedMap(values), escape=True)
    return text


def _dumped(document: CommentedMap, *, escape: bool = False) -> str:
    out = io.StringIO()
    yaml = _yaml()
    yaml.allow_unicode = not escape
    yaml.dump(document, out)
    return out.getvalue()


def _edited(old: str, have: dict[str, Any], values: dict[str, Any], *, shared: bool) -> str:
    """``old`` with what differs replaced; without ``shared`` each alias becomes a copy first."""
    document, above = _yaml().load(old), ""
    if document is None:  # there is nothing but comments
        document, above = CommentedMap(), f"{old.rstrip()}\n" if old.strip() else ""
    if not shared:
        document = _copied(document)
    _update(document, have, values)
    return above + _dumped(document)


def _update(document: CommentedMap, have: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for name in have:
        if name not in values:
            # An alias of the same mapping may have removed it.
            document.pop(name, None)
    for name, value in values.items():
        old, below = document.get(name), have.get(name)
        if isinstance(old, CommentedMap) and isinstance(below, dict) and isinstance(value, dict):
            _update(old, below, value)
        elif name not in have or canonical(below) != canonical(value):
            document[name] = value


def _copied(value: Any) -> Any:
    """``value`` without anchors: what is in several places becomes several."""
    if isinstance(value, CommentedMap):
        made: Any = CommentedMap()
        for name, one in value.items():
            made[name] = _copied(one)
    elif isinstance(value, CommentedSeq):
        made = CommentedSeq(_copied(one) for one in value)
    else:
        # A text or number has its anchor with it.
        if hasattr(value, Anchor.attrib):
            delattr(value, Anchor.attrib)
        return value
    value.copy_attributes(made)
    if hasattr(made, Anchor.attrib):
        delattr(made, Anchor.attrib)
    return made


def _diff(path: str, old: str | None, new: str) -> str:
    """``old`` is None for a file that is not there."""
    if (old or "") == new:
        return ""
    header = f"diff --git a/{path} b/{path}\n"
    if old is None:
        header += "new file mode 100644\n"
    elif not new:
        header += "deleted file mode 100644\n"
    lines = []
    before = "/dev/null" if old is None else f"a/{path}"
    after = f"b/{path}" if new else "/dev/null"
    for line in unified_diff(
        (old or "").splitlines(keepends=True), new.splitlines(keepends=True), before, after
    ):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return header + "".join(lines)
