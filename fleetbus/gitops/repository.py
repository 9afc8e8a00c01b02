"""A Git repository, read without git: a working tree, a bare one, or a mirror of a remote one.

Only commits count; files that are not committed are never looked at. All functions block: call
them with ``asyncio.to_thread``, and one at a time. All raise ``RepositoryError`` if the disk fails.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import Final, Self

from dulwich import objects
from dulwich.errors import NotGitRepository, ObjectFormatException
from dulwich.graph import can_fast_forward
from dulwich.lru_cache import LRUCache
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID
from dulwich.repo import Repo

from fleetbus.gitops import history, mirrors, packs, refs, remote, sizes
from fleetbus.gitops.commits import Commit, Listing, described
from fleetbus.gitops.disk import told, unusable
from fleetbus.gitops.errors import RepositoryError, TooBig

__all__ = ["Commit", "Listing", "Repository"]

MAX_FILES: Final = 50_000
"""Of a commit, in the folders that are looked at."""
MAX_FOLDERS: Final = 32
"""Within each other."""
_TREE: Final = 2
"""Git's number for this kind of object."""


class Repository:
    """Made by ``open``; close it, or use it in a ``with``."""

    def __init__(self, repo: Repo, location: str, url: str = "") -> None:
        self._repo = repo
        self._location = location
        self._url = url
        self._commits: LRUCache[ObjectID, objects.Commit] = LRUCache(4096)
        self._folders: LRUCache[ObjectID, history.Folder] = LRUCache(256)
        self._remembered = history.Remembered()
        self._walk = history.Walk(self._commit, self._parents, self._folder_id, self._folder)

    @staticmethod
    def open(path_or_url: str | Path, cache: Path | None = None) -> Repository:
        """Open it, without using the network: ``fetch`` brings what a URL has.

        Args:
            cache: folder for mirrors; by default ``fleetbus/repositories`` in the user's cache.

        Raises:
            RepositoryError: there is none, or its mirror cannot be made.
        """
        text = str(path_or_url)
        if remote.is_url(text):
            location = remote.without_credentials(text)
            return Repository(mirrors.open_mirror(location, cache), location, text)
        path = Path(text).expanduser().absolute()
        if not path.exists():
            raise RepositoryError(str(path), "there is no such folder: check the path")
        try:
            return Repository(Repo(str(path)), str(path))
        except NotGitRepository:
            raise RepositoryError(
                str(path),
                "not a Git repository: name the folder that has .git in it, or run 'git init' "
                "there and commit",
            ) from None
        except (OSError, ValueError) as error:
            raise unusable(str(path), error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._repo.close()

    @property
    def location(self) -> str:
        """Absolute path, or URL without credentials."""
        return self._location

    def fetch(self, timeout: float) -> None:
        """Bring the mirror of a URL up to date; nothing for a path.

        Args:
            timeout: seconds.

        Raises:
            Unreachable, AccessRefused, RepositoryError: as for ``remote.fetch``.
        """
        if self._url:
            with self._told():
                packs.tidy(self._repo)
                remote.fetch(self._url, self._repo, timeout)

    def resolve(self, ref: str) -> Commit:
        """The commit that a branch, a tag, an id (seven digits or more), ``origin/x`` or ``HEAD``
        stands for; ``~2`` and ``^`` may follow.

        Raises:
            NoSuchRef: nothing has this name.
            RepositoryError: there are no commits, or it is ambiguous.
        """
        with self._told():
            return self._shown(refs.find(self._repo, self._location, ref, bool(self._url)))

    def files(self, commit: Commit, folders: Collection[str] | None = None) -> dict[str, str]:
        """Blob id by path, of regular files; with ``folders`` only of those at the top and in
        these folders of the top.

        Raises:
            RepositoryError: something is missing, or there are too many.
        """
        return self.listing(commit, folders).files

    def listing(self, commit: Commit, folders: Collection[str] | None = None) -> Listing:
        """As ``files``, with what is no file."""
        made = Listing()
        with self._told():
            for path, mode, sha in self._entries(self._required(commit.id), folders):
                if S_ISREG(mode):
                    made.files[path] = sha.decode()
                else:
                    made.odd[path] = "submodule" if objects.S_ISGITLINK(mode) else "symbolic link"
                if len(made.files) + len(made.odd) > MAX_FILES:
                    raise RepositoryError(
                        self._location,
                        f"commit {commit.id[:12]} has more than {MAX_FILES} files: give the "
                        "configuration a repository of its own",
                    )
        return made

    def read(self, blob: str, limit: int, path: str = "") -> bytes:
        """The content of a blob of at most ``limit`` bytes.

        Args:
            path: its name, for messages.

        Raises:
            TooBig: it has more, and was not unpacked.
            RepositoryError: it is missing.
        """
        id_, store = ObjectID(blob.encode()), self._repo.object_store
        with self._told():
            try:
                size = sizes.size(store, id_) if isinstance(store, DiskObjectStore) else None
                if size is not None and size > limit:
                    raise TooBig(self._location, path or blob[:12], size, limit)
                _, data = store.get_raw(id_)
            except (KeyError, ValueError) as error:
                raise self._missing(path or blob, error) from None
        if len(data) > limit:
            raise TooBig(self._location, path or blob[:12], len(data), limit)
        return data

    def last_changes(self, commit: Commit, paths: Collection[str]) -> dict[str, Commit]:
        """The last commit that changed each path, seen from ``commit``. Costs a walk the first
        time; later only over what is new.

        Raises:
            RepositoryError: an object is missing.
        """
        start = ObjectID(commit.id.encode())
        with self._told():
            try:
                found = history.last_changes(self._walk, start, paths, self._remembered)
                top = self._required(commit.id)
                answers = {}
                for path, id_ in found.items():
                    folder, _, name = path.rpartition("/")
                    entry = self._folder(self._folder_id(top, folder)).get(name.encode())
                    if entry is not None:
                        answers[path] = entry, id_
            except KeyError as error:
                raise self._missing(str(error), error) from None
            self._remembered = history.Remembered(start, answers)
            shown = {id_: self._shown(id_) for id_ in set(found.values())}
        return {path: shown[id_] for path, id_ in found.items()}

    def is_ancestor(self, a: str, b: str) -> bool:
        """Whether commit ``b`` is ``a`` or came after it (full ids); False if one is not here.

        Raises:
            RepositoryError: an object between them is missing.
        """
        first, second = ObjectID(a.encode()), ObjectID(b.encode())
        with self._told():
            if self._commit(first) is None or self._commit(second) is None:
                return False
            try:
                return can_fast_forward(self._repo, first, second)
            except KeyError as error:
                raise self._missing(str(error), error) from None

    def log(self, commit: Commit, limit: int) -> list[Commit]:
        """``commit`` and those before it, the newest first."""
        start = ObjectID(commit.id.encode())
        with self._told():
            return [self._shown(one.id) for one in history.log(self._walk, start, limit)]

    # the inside

    def _told(self) -> AbstractContextManager[None]:
        return told(self._repo, self._location)

    def _entries(
        self, commit: objects.Commit, folders: Collection[str] | None
    ) -> Iterator[tuple[str, int, ObjectID]]:
        waiting: list[tuple[str, ObjectID, int]] = [("", commit.tree, 0)]
        while waiting:
            prefix, tree, depth = waiting.pop()
            for name, mode, sha in self._folder(tree).values():
                shown = name.decode(errors="replace")
                if not S_ISDIR(mode):
                    yield prefix + shown, mode, sha
                elif depth or folders is None or shown in folders:
                    if depth >= MAX_FOLDERS:
                        raise RepositoryError(
                            self._location, f"{prefix[:200]} is nested deeper than {MAX_FOLDERS}"
                        )
                    waiting.append((f"{prefix}{shown}/", sha, depth + 1))

    def _shown(self, id_: ObjectID) -> Commit:
        return described(self._required(id_.decode()))

    def _required(self, id_: str) -> objects.Commit:
        found = self._commit(ObjectID(id_.encode()))
        if found is None:
            raise self._missing(id_, None)
        return found

    def _commit(self, id_: ObjectID) -> objects.Commit | None:
        if id_ not in self._commits:
            try:
                found = self._repo.object_store[id_]
            except (KeyError, ValueError):
                return None
            if not isinstance(found, objects.Commit):
                return None
            self._commits[id_] = found
        return self._commits[id_]

    def _parents(self, commit: objects.Commit) -> list[ObjectID]:
        # The provider knows where a shallow clone ends, and of grafts.
        return self._repo.parents_provider().get_parents(commit.id, commit)

    def _folder_id(self, commit: objects.Commit, folder: str) -> ObjectID | None:
        tree: ObjectID = commit.tree
        for name in folder.split("/") if folder else ():
            entry = self._folder(tree).get(name.encode())
            if entry is None or not S_ISDIR(entry[1]):
                return None
            tree = entry[2]
        return tree

    def _folder(self, id_: ObjectID | None) -> history.Folder:
        """What a tree holds, by name. Long histories have many: this is quicker than a Tree."""
        if id_ is None:
            return {}
        if id_ not in self._folders:
            try:
                kind, raw = self._repo.object_store.get_raw(id_)
                entries = objects.parse_tree(raw, len(id_) // 2) if kind == _TREE else None
            except (KeyError, ValueError, ObjectFormatException) as error:
                raise self._missing(id_.decode(), error) from None
            if entries is None:
                raise RepositoryError(self._location, f"object {id_.decode()[:12]} is no tree")
            self._folders[id_] = {
                entry[0]: (entry[0], entry[1], ObjectID(entry[2])) for entry in entries
            }
        return self._folders[id_]

    def _missing(self, what: str, error: BaseException | None) -> RepositoryError:
        hint = (
            "this is a shallow clone: run 'git fetch --unshallow' in it"
            if self._repo.get_shallow()
            else "check the repository with 'git fsck', or remove the mirror"
            if self._url
            else "check the repository with 'git fsck'"
        )
        detail = "" if error is None or isinstance(error, KeyError) else f" ({error})"
        return RepositoryError(self._location, f"object {what[:60]} is missing{detail}: {hint}")
