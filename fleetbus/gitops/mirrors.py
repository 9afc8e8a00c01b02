"""Where the mirrors of remote repositories are kept on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.repo import Repo

from fleetbus.gitops.errors import RepositoryError


def default_cache() -> Path:
    """Folder for mirrors if nothing else is said."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "fleetbus" / "repositories"


def open_mirror(location: str, cache: Path | None) -> Repo:
    """The mirror of ``location``, made if there is none.

    Args:
        location: URL without credentials: other credentials lead to the same mirror.
        cache: folder for mirrors; None for the default one.

    Raises:
        RepositoryError: it cannot be made or opened.
    """
    path = (cache or default_cache()) / _name(location)
    try:
        return _opened(path)
    except (OSError, NotGitRepository, ValueError) as error:
        raise RepositoryError(
            location, f"its mirror {path} cannot be used ({error}): remove that folder"
        ) from None


def _name(location: str) -> str:
    """Something to recognise it by, and what makes it unique."""
    said = re.sub(r"[^A-Za-z0-9_-]+", "-", location.rstrip("/").removesuffix(".git"))[-40:]
    return f"{said.strip('-')}-{hashlib.sha256(location.encode()).hexdigest()[:16]}.git"


def _opened(path: Path) -> Repo:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Elsewhere first: whoever comes at the same time finds nothing or all of it.
        made = Path(tempfile.mkdtemp(prefix="new-", dir=path.parent))
        try:
            Repo.init_bare(str(made)).close()
            made.rename(path)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            if not path.exists():
                raise
    return Repo(str(path))
