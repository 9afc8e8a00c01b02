"""Names of commits: branches, tags, commit ids, and ``~2`` or ``^`` behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dulwich.objects import Commit, ObjectID, Tag
from dulwich.refs import HEADREF, Ref, check_ref_format
from dulwich.repo import Repo

from fleetbus.gitops.errors import NoSuchRef, RepositoryError

MIN_DIGITS: Final = 7
"""Of an abbreviated commit id."""

_STEPS: Final = re.compile(r"(?P<name>.+?)(?P<steps>(?:~[0-9]{0,6}|\^[0-9]{0,2})*)", re.DOTALL)
_STEP: Final = re.compile(r"([~^])([0-9]*)")
_HEX: Final = re.compile(r"[0-9a-fA-F]{7,64}")
_PLACES: Final = (b"", b"refs/", b"refs/tags/", b"refs/heads/", b"refs/remotes/")
"""Where git looks for a name, in this order."""
_NAMED: Final = re.compile(rb"refs/(?:heads|tags|remotes)/(.+)")


def find(repo: Repo, location: str, ref: str, mirror: bool) -> ObjectID:
    """Id of the commit that ``ref`` stands for.

    Args:
        mirror: ``origin/x`` is its branch ``x``.

    Raises:
        NoSuchRef: nothing has this name.
        RepositoryError: there are no commits at all, or it stands for several things or none.
    """
    split = _STEPS.fullmatch(ref.strip())
    if split is None:
        raise RepositoryError(location, "the ref is empty: name a branch, a tag or a commit")
    found = _named(repo, location, split["name"], mirror)
    if found is None:
        known = list(names(repo))
        if not known and not any(True for _ in repo.object_store):
            raise RepositoryError(
                location, "has no commits yet: commit the configuration, and push it to the remote"
            )
        raise NoSuchRef(location, ref, known, bool(repo.get_shallow()))
    commit = _peeled(repo, location, ref, found)
    for kind, count in _STEP.findall(split["steps"]):
        wanted = int(count) if count else 1
        for _ in range(wanted if kind == "~" else min(wanted, 1)):
            parents = repo.parents_provider().get_parents(commit)
            index = 0 if kind == "~" else wanted - 1
            if index >= len(parents) or parents[index] not in repo.object_store:
                raise NoSuchRef(location, ref, names(repo), bool(repo.get_shallow()))
            commit = parents[index]
    return commit


def names(repo: Repo) -> Iterator[str]:
    """What can be asked for by name."""
    for name in repo.refs.allkeys():
        if (found := _NAMED.fullmatch(name)) and not name.endswith(b"/HEAD"):
            yield found[1].decode(errors="replace")


def _named(repo: Repo, location: str, name: str, mirror: bool) -> ObjectID | None:
    if mirror and name.startswith("origin/"):
        name = name.removeprefix("origin/")
    written = name.encode(errors="replace")
    for place in _PLACES:
        full = Ref(place + written)
        if full != HEADREF and not (full.startswith(b"refs/") and check_ref_format(full)):
            continue
        try:
            return repo.refs[full]
        except (KeyError, NotADirectoryError, IsADirectoryError):
            continue
    if not _HEX.fullmatch(name):
        return None
    matching = {
        sha
        for sha in repo.object_store.iter_prefix(written.lower())
        if isinstance(repo.object_store[sha], (Commit, Tag))
    }
    if len(matching) > 1:
        raise RepositoryError(
            location, f"{len(matching)} commits begin with {name}: write more of its digits"
        )
    return next(iter(matching), None)


def _peeled(repo: Repo, location: str, ref: str, found: ObjectID) -> ObjectID:
    """The commit behind annotated tags."""
    for _ in range(10):
        try:
            thing = repo.object_store[found]
        except KeyError:
            raise RepositoryError(
                location,
                f"{ref[:120]!r} is {found.decode()[:12]}, and that object is missing: fetch it, "
                "or check the repository with 'git fsck'",
            ) from None
        if isinstance(thing, Commit):
            return thing.id
        if not isinstance(thing, Tag):
            break
        found = thing.object[1]
    raise RepositoryError(location, f"{ref[:120]!r} is no commit: name a branch, a tag or a commit")
