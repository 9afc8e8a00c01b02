"""A bare Git repository with a fleet's configuration, written without git."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from bench.harness.servers import FLEET
from bench.simulated import crew

KEYS: Final = 200
"""Of an agent's configuration."""
SECTIONS: Final = 20
SPECIAL: Final = 7
"""Number of the agent that has a file of its own."""

GROUPS: Final = {"10-prod": "env=prod", "20-zone": "zone=z0", "30-site": "site=site-3"}
_MAIN: Final = Ref(b"refs/heads/main")
_AUTHOR: Final = b"Bench <bench@example.org>"


def values(mark: int, every: int = 1) -> dict[str, Any]:
    """One in ``every`` of the 200 keys, ten in a section; ``mark`` makes them others."""
    made: dict[str, Any] = {}
    for number in range(0, KEYS, every):
        section = made.setdefault(f"section_{number % SECTIONS:02}", {})
        key = number // SECTIONS
        kinds = (f"value {mark}.{number}", mark * KEYS + number, number / 8 + mark, [mark, number])
        section[f"key_{key}"] = kinds[key % len(kinds)]
    return made


def files(version: int) -> dict[str, str]:
    """The repository as its commit of this number has it. Each changes something for everybody,
    and every other one a group, too."""
    whole = values(0)
    whole["section_01"]["key_0"] = version  # which no other layer has
    made = {"global.yaml": _yaml(whole), f"fleets/{FLEET}.yaml": _yaml(values(1, 5))}
    for number, (name, selector) in enumerate(GROUPS.items(), 2):
        layer = values(number + version // 2 * 10, 7)
        made[f"groups/{name}.yaml"] = _yaml({"selector": selector, "values": layer})
    made[f"instances/{crew.name(SPECIAL)}.yaml"] = _yaml(values(9, 40))
    section = {"type": "object", "maxProperties": KEYS // SECTIONS}
    names = [f"section_{number:02}" for number in range(SECTIONS)]
    made["schema.json"] = json.dumps(
        {"type": "object", "properties": dict.fromkeys(names, section), "required": names}
    )
    return made


def _yaml(document: dict[str, Any], indent: str = "") -> str:
    """A key a line, as people write it."""
    lines = []
    for key, value in document.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:\n{_yaml(value, indent + '  ')}")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}\n")
    return "".join(lines)


class Commits:
    """Makes a commit whenever it is told to; use it in a ``with``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._repo = Repo.init_bare(str(folder), mkdir=True, default_branch=b"main")
        self._parents: list[ObjectID] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._repo.close()

    def commit(self) -> str:
        """The next one, on ``main``; its id."""
        store = self._repo.object_store
        entries = []
        for path, text in files(len(self._parents)).items():
            blob = Blob.from_string(text.encode())
            store.add_object(blob)
            entries.append((path.encode(), blob.id, 0o100644))
        made = Commit()
        made.tree = commit_tree(store, entries)
        made.parents = self._parents[-1:]
        made.author = made.committer = _AUTHOR
        made.author_time = made.commit_time = int(time.time())
        made.author_timezone = made.commit_timezone = 0
        made.message = f"Change {len(self._parents)}".encode()
        store.add_object(made)
        self._repo.refs[_MAIN] = made.id
        self._parents.append(made.id)
        return made.id.decode()
