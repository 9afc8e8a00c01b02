"""What can be wrong with a repository as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from bus.errors import ConfigError


class RepositoryError(ConfigError):
    """A repository cannot be used. ``location`` has no credentials."""

    def __init__(self, location: str, problem: str) -> None:
        self.location = location
        self.problem = problem
        super().__init__(f"repository {location}: {problem}")


class Unreachable(RepositoryError):
    """The remote did not answer, or not in time; trying again may help."""


class AccessRefused(RepositoryError):
    """The remote wants other credentials, or does not show us the repository."""


class TooBig(RepositoryError):
    """A file is bigger than may be read; it was not. ``size`` and ``limit`` are in bytes.

    ``file`` is its path if that is known, else the first digits of its id.
    """

    def __init__(self, location: str, file: str, size: int, limit: int) -> None:
        self.file = file
        self.size = size
        self.limit = limit
        super().__init__(
            location,
            f"file {file[:200]} has {size} bytes, and {limit} is the most: make it smaller",
        )


class NoSuchRef(RepositoryError):
    """Nothing in the repository has this name. ``near`` are names like it."""

    def __init__(self, location: str, ref: str, names: Iterable[str], shallow: bool) -> None:
        self.ref = ref
        known = sorted(set(names))
        self.near = tuple(get_close_matches(ref, known, 3, 0.6)) or tuple(known[:5])
        problem = f"no branch, tag or commit is called {ref[:120]!r}"
        if self.near:
            problem += f"; there is {', '.join(self.near)}"
        if shallow:
            problem += (
                "; this is a shallow clone, so older commits are missing: "
                "run 'git fetch --unshallow' in it"
            )
        super().__init__(location, problem)
