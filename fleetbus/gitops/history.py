"""Who changed what last: walks over the commits of a repository.

Where branches were merged a file is followed into the first parent that has it as it is, as
``git log`` does, so a change has its own author and not who merged it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dulwich.objects import Commit, ObjectID

MAX_COMMITS: Final = 20_000
"""Looked at in one walk at most."""

Entry = tuple[bytes, int, ObjectID]
"""Name, mode and id of what a folder holds."""
Folder = Mapping[bytes, Entry]


@dataclass(slots=True)
class Walk:
    """How commits, their parents and their folders are found."""

    commit: Callable[[ObjectID], Commit | None]
    """None if it is missing, as behind the end of a shallow clone."""
    parents: Callable[[Commit], list[ObjectID]]
    folder_id: Callable[[Commit, str], ObjectID | None]
    """Of a folder's tree; ``""`` is the root's."""
    folder: Callable[[ObjectID | None], Folder]


@dataclass(slots=True)
class Remembered:
    """Answers of an earlier walk, so that a later one can stop where it began."""

    start: ObjectID | None = None
    answers: dict[str, tuple[Entry, ObjectID]] = field(default_factory=dict)
    """By path: what it is, and the commit that brought it."""


def last_changes(
    walk: Walk, start: ObjectID, paths: Collection[str], remembered: Remembered
) -> dict[str, ObjectID]:
    """The last commit that changed each of ``paths``, seen from ``start``; ``start`` itself for
    those that no commit of the last 20,000 changed.
    """
    first = walk.commit(start)
    pending: dict[ObjectID, dict[str, set[str]]] = {}
    queue: list[tuple[int, ObjectID]] = []
    found: dict[str, ObjectID] = {}
    if first is not None:
        _hand_on(walk, pending, queue, first, _by_folder(paths))
    seen = 0
    while queue and seen < MAX_COMMITS:
        _, id_ = heapq.heappop(queue)
        commit = walk.commit(id_)
        groups = pending.pop(id_, None)
        if commit is None or groups is None:
            continue
        seen += 1
        if id_ == remembered.start:
            groups = _recall(walk, commit, groups, remembered, found)
        parents = [one for one in map(walk.commit, walk.parents(commit)) if one is not None]
        for folder, names in groups.items():
            for parent in parents:
                same = _same(walk, commit, parent, folder, names)
                if same:
                    _hand_on(walk, pending, queue, parent, {folder: same})
                    names = names - same
                if not names:
                    break
            found.update({_path(folder, name): id_ for name in names})
    for groups in pending.values():
        for folder, names in groups.items():
            found.update({_path(folder, name): start for name in names})
    return {path: found.get(path, start) for path in paths}


def _recall(
    walk: Walk,
    commit: Commit,
    groups: dict[str, set[str]],
    remembered: Remembered,
    found: dict[str, ObjectID],
) -> dict[str, set[str]]:
    """Take the known answers; returns what is still to be found."""
    left: dict[str, set[str]] = {}
    for folder, names in groups.items():
        blobs = walk.folder(walk.folder_id(commit, folder))
        for name in names:
            path = _path(folder, name)
            known = remembered.answers.get(path)
            if known is not None and known[0] == blobs.get(name.encode()):
                found[path] = known[1]
            else:
                left.setdefault(folder, set()).add(name)
    return left


def _same(walk: Walk, commit: Commit, parent: Commit, folder: str, names: set[str]) -> set[str]:
    """Those of ``names`` that both have alike."""
    mine, theirs = walk.folder_id(commit, folder), walk.folder_id(parent, folder)
    if mine == theirs:
        return names
    ours, before = walk.folder(mine), walk.folder(theirs)
    changed = {entry[0].decode(errors="replace") for entry in {*ours.values()} ^ {*before.values()}}
    return names - changed


def _hand_on(
    walk: Walk,
    pending: dict[ObjectID, dict[str, set[str]]],
    queue: list[tuple[int, ObjectID]],
    commit: Commit,
    groups: Mapping[str, set[str]],
) -> None:
    if commit.id not in pending:
        pending[commit.id] = {}
        # The newest first, so that most children come before their parents.
        heapq.heappush(queue, (-commit.commit_time, commit.id))
    waiting = pending[commit.id]
    for folder, names in groups.items():
        waiting[folder] = waiting.get(folder, set()) | names


def _by_folder(paths: Collection[str]) -> dict[str, set[str]]:
    made: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        made.setdefault(folder, set()).add(name)
    return made


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def log(walk: Walk, start: ObjectID, limit: int) -> Iterator[Commit]:
    """``start`` and its ancestors, the newest first, ``limit`` of them at most."""
    queue: list[tuple[int, int, ObjectID]] = []
    known: set[ObjectID] = set()

    def add(id_: ObjectID) -> None:
        commit = walk.commit(id_)
        if commit is not None and id_ not in known:
            known.add(id_)
            heapq.heappush(queue, (-commit.commit_time, len(known), id_))

    add(start)
    while queue and limit > 0:
        commit = walk.commit(heapq.heappop(queue)[2])
        if commit is None:
            continue
        yield commit
        limit -= 1
        for parent in walk.parents(commit):
            add(parent)
