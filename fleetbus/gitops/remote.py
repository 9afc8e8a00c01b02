"""Repositories that are elsewhere: their URLs, and fetching them into a mirror.

A fetch ends in time for who waits for it, whatever the other side does: it runs in a thread of
its own, which is left behind at the deadline. An ``ssh`` is killed then and connections of https
are shut, so that the thread ends too. It lives on only while it waits for what cannot be broken
off: a name server, for as long as the resolver has patience, or a file system that hangs. What it
still brings lies unused in the mirror, and there are at most ``MAX_LEFT`` of them.
Nothing prompts: ssh runs in batch mode, and https takes credentials from the URL, from git's
``http.extraHeader``, or from ``~/.git-credentials``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from dulwich import client as git
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository
from dulwich.file import FileLocked
from dulwich.pack import PackFileDisappeared
from dulwich.refs import HEADREF, Ref
from dulwich.repo import Repo

from fleetbus.gitops import transports
from fleetbus.gitops.disk import unusable
from fleetbus.gitops.errors import AccessRefused, RepositoryError, Unreachable

MIRRORED: Final = (b"refs/heads/", b"refs/tags/")

_OURS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO)
"""What only this machine can be short of."""

MAX_LEFT: Final = 8
"""Fetches that may hang in the background, where nothing can break them off."""

_THREAD: Final = "fleetbus-fetch"
_DENIED: Final = re.compile(r"permission denied|authentication failed|could not read user", re.I)
_STRANGER: Final = re.compile(r"host key verification failed|no .* host key is known", re.I)
_MISSING: Final = re.compile(r"repository.*not (?:found|exist)|not appear to be a git", re.I)


def is_url(text: str) -> bool:
    """True for URLs and for ``user@host:path``, unless there is a file or folder of this name."""
    return bool(transports.URL.match(text)) or bool(
        transports.SCP.fullmatch(text) and not os.path.lexists(text)
    )


def without_credentials(url: str) -> str:
    """``url`` as it may be shown: without password, query and fragment, and without the user
    unless it is ssh's."""
    if not transports.URL.match(url):
        return url
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme.lower() == "ssh" and at:
        host = f"{user.partition(':')[0]}@{host}"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def fetch(url: str, mirror: Repo, timeout: float) -> None:
    """Bring all branches and tags of ``url`` into ``mirror``, as they are there now: what was
    pushed by force or deleted there is so here.

    Args:
        timeout: seconds that all of it may take.

    Raises:
        Unreachable: no answer, or not in time.
        AccessRefused: it wants other credentials.
        RepositoryError: it is no repository, or ``url`` is none that we know.
    """
    location = without_credentials(url)
    left = sum(one.name == _THREAD for one in threading.enumerate())
    if left >= MAX_LEFT:
        raise Unreachable(location, f"{left} earlier attempts are still without an answer: wait")
    transport = transports.find(url, location, timeout)
    late = threading.Event()
    done: list[git.FetchPackResult | RepositoryError] = []

    def run() -> None:
        result: git.FetchPackResult | Exception
        try:
            # Its own view: left behind, it must not meddle with what others read.
            with contextlib.closing(_opened(mirror, location)) as own:
                path = transport.path.encode()
                result = transport.client.fetch(path, own, _wants(own, late))
        except Exception as error:  # raised where it is waited for
            result = error
        said = transport.close()
        if isinstance(result, RepositoryError):
            done.append(result)
        elif isinstance(result, Exception):
            done.append(_explained(location, mirror.path, result, said))
        else:
            done.append(result)

    thread = threading.Thread(target=run, name=_THREAD, daemon=True)
    thread.start()
    thread.join(timeout)
    if not done:
        late.set()
        transport.kill()
        raise Unreachable(
            location, f"no complete answer within {timeout:g} s: check host, port and network"
        )
    result = done[0]
    if isinstance(result, RepositoryError):
        raise result
    try:
        _adopt(mirror, result)
    except FileLocked as error:
        raise RepositoryError(
            location,
            f"another process is writing to its mirror ({os.fsdecode(error.lockfilename)}): try "
            "again, and remove that file if nobody is",
        ) from None


def _wants(mirror: Repo, late: threading.Event) -> Callable[..., list[Any]]:
    def wanted(refs: Mapping[Any, Any], depth: int | None = None) -> list[Any]:
        if late.is_set():
            return []
        ours = {sha for name, sha in refs.items() if name.startswith(MIRRORED) and sha}
        return sorted(sha for sha in ours if sha not in mirror.object_store)

    return wanted


def _adopt(mirror: Repo, result: git.FetchPackResult) -> None:
    """Make the refs of ``mirror`` those of the remote, and touch only those that differ."""
    theirs = {
        name: sha
        for name, sha in (result.refs or {}).items()
        if sha is not None and name.startswith(MIRRORED) and not bytes(name).endswith(b"^{}")
    }
    ours = mirror.refs.as_dict()
    for name, sha in theirs.items():
        if ours.get(name) != sha:
            mirror.refs[name] = sha
    for name in ours:
        if name.startswith(MIRRORED) and name not in theirs:
            mirror.refs.remove_if_equals(name, None)
    head = (result.symrefs or {}).get(HEADREF)
    at = (result.refs or {}).get(HEADREF)
    if head is None and at is not None:
        # Old servers do not say which branch it is.
        named = [name for name, sha in theirs.items() if sha == at]
        head = next(
            iter(sorted(named, key=lambda name: (not name.startswith(b"refs/heads/ma"), name))),
            None,
        )
    if head is not None and mirror.refs.read_ref(HEADREF) != b"ref: " + head:
        mirror.refs.set_symbolic_ref(HEADREF, Ref(head))


def _opened(mirror: Repo, location: str) -> Repo:
    try:
        return Repo(mirror.path)
    except NotGitRepository:
        raise RepositoryError(
            location, f"its mirror {mirror.path} is damaged: remove that folder, and start again"
        ) from None
    except OSError as error:
        raise unusable(location, error) from None


def _explained(location: str, mirror: str, error: Exception, said: str) -> RepositoryError:
    """What ``error`` means to who wrote the URL."""
    text = _clean(f"{error} {said}".strip() or type(error).__name__)
    match error:
        case OSError() if error.errno in _OURS or str(error.filename).startswith(mirror):
            return unusable(location, error)
        case PackFileDisappeared():
            return RepositoryError(location, "its mirror was repacked meanwhile: try again")
        case git.HTTPUnauthorized() | git.HTTPProxyUnauthorized():
            return AccessRefused(
                location,
                "it wants credentials or refuses those it got: write them into "
                "~/.git-credentials, or set http.extraHeader in git's configuration",
            )
        case NotGitRepository():
            return RepositoryError(location, "there is no Git repository: check the path")
        case GitProtocolError() | HangupException() | OSError() | ValueError():
            pass
        case _:
            kind = type(error).__name__
            return RepositoryError(
                location,
                f"its answer makes no sense ({kind}: {text}): check that it is a Git server",
            )
    if isinstance(error, FileNotFoundError) and error.filename and "ssh" in str(error.filename):
        return RepositoryError(location, "there is no ssh on this machine: install it, or https")
    if _STRANGER.search(text):
        return AccessRefused(location, f"{text}: add the host's key to known_hosts")
    if _DENIED.search(text):
        return AccessRefused(location, f"{text}: check the key or the credentials")
    if _MISSING.search(text):
        return RepositoryError(location, f"{text}: check the path, and whether you may read it")
    return Unreachable(location, f"{text}: check host, port and network")


def _clean(text: str) -> str:
    """One short line without credentials: urllib3 and servers may repeat the URL."""
    flat = " ".join(text.split())
    return re.sub(r"://[^/@\s]+@", "://", "".join(c for c in flat if c.isprintable()))[:300]
