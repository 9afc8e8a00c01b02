"""Git repositories made for a test, without git: commits are written, files never checked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ObjectID, Tag
from dulwich.refs import HEADREF, Ref
from dulwich.repo import Repo

BEGIN: Final = 1_700_000_000
"""Unix time in seconds of the first commit; each next one is a minute later."""

LINK: Final = 0o120000
SUBMODULE: Final = 0o160000


class MadeRepository:
    """A repository whose ``files`` are what the next commit has; use it in a ``with``."""

    def __init__(self, path: Path, *, bare: bool = False, branch: str = "main") -> None:
        self.path = path
        self.files: dict[str, bytes] = {}
        self.odd: dict[str, tuple[int, bytes]] = {}
        """Mode and content of what is no file; of a submodule, its commit's id."""
        self._branch = branch
        path.mkdir(parents=True, exist_ok=True)
        make = Repo.init_bare if bare else Repo.init
        self.repo = make(str(path), default_branch=branch.encode())
        self._time = BEGIN

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.repo.close()

    def commit(
        self,
        files: Mapping[str, str | bytes | None],
        message: str = "Change",
        *,
        author: str = "Ada <ada@example.org>",
        parents: Sequence[str] | None = None,
        branch: str = "",
        at: int | None = None,
    ) -> str:
        """Add, replace or (None) remove files on a branch; returns the commit's id.

        Args:
            parents: by default the tip of the branch; others for a merge or a forced push.
        """
        for path, content in files.items():
            if content is None:
                del self.files[path]
            else:
                self.files[path] = content.encode() if isinstance(content, str) else content
        store = self.repo.object_store
        entries = []
        for path, data in self.files.items():
            blob = Blob.from_string(data)
            if blob.id not in store:
                store.add_object(blob)
            entries.append((path.encode(), blob.id, 0o100644))
        for path, (mode, data) in self.odd.items():
            if mode == SUBMODULE:
                entries.append((path.encode(), ObjectID(data), mode))
            else:
                blob = Blob.from_string(data)
                store.add_object(blob)
                entries.append((path.encode(), blob.id, mode))
        ref = Ref(b"refs/heads/" + (branch or self._branch).encode())
        if parents is None:
            tip = self.repo.refs.as_dict().get(ref)
            parents = [] if tip is None else [tip.decode()]
        made = Commit()
        made.tree = commit_tree(store, entries)
        made.parents = [ObjectID(one.encode()) for one in parents]
        made.author = made.committer = author.encode()
        made.author_time = made.commit_time = self._time if at is None else at
        made.author_timezone = made.commit_timezone = 0
        made.message = message.encode()
        store.add_object(made)
        self.repo.refs[ref] = made.id
        self._time += 60
        return made.id.decode()

    def tag(self, name: str, commit: str, *, annotated: bool = False) -> None:
        """Give a commit a name."""
        target = ObjectID(commit.encode())
        if annotated:
            tag = Tag()
            tag.name, tag.object, tag.message = name.encode(), (Commit, target), b"A release"
            tag.tagger, tag.tag_time, tag.tag_timezone = b"Ada <ada@example.org>", self._time, 0
            self.repo.object_store.add_object(tag)
            target = tag.id
        self.repo.refs[Ref(b"refs/tags/" + name.encode())] = target

    def branch(self, name: str, commit: str) -> None:
        """Make a branch, or move it."""
        self.repo.refs[Ref(b"refs/heads/" + name.encode())] = ObjectID(commit.encode())

    def remove(self, ref: str) -> None:
        """Remove a full ref."""
        self.repo.refs.remove_if_equals(Ref(ref.encode()), None)

    def head(self, branch: str) -> None:
        """Make another branch the default one."""
        self.repo.refs.set_symbolic_ref(HEADREF, Ref(b"refs/heads/" + branch.encode()))
