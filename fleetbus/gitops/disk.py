"""What a disk does to a repository while it is read, told as a ``RepositoryError``."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dulwich.errors import ApplyDeltaError, ChecksumMismatch, FileFormatException
from dulwich.pack import PackFileDisappeared, UnresolvedDeltas
from dulwich.repo import Repo

from fleetbus.gitops.errors import RepositoryError

_DAMAGE: Final = (
    # dulwich checks little of what it reads: damaged packs were seen to bring all of these.
    ApplyDeltaError,
    AssertionError,
    BufferError,
    ChecksumMismatch,
    FileFormatException,
    LookupError,
    TypeError,
    UnresolvedDeltas,
    ValueError,
    struct.error,
    zlib.error,
)


@contextmanager
def told(repo: Repo, location: str) -> Iterator[None]:
    """
    Raises:
        RepositoryError: the repository is gone, cannot be read, or is damaged.
    """
    try:
        # Else nothing would be found in it, and that be told as its content.
        os.stat(repo.commondir())
        yield
    except OSError as error:
        raise unusable(location, error) from None
    except PackFileDisappeared:
        raise RepositoryError(location, "was repacked while it was read: try again") from None
    except _DAMAGE as error:
        raise RepositoryError(
            location,
            f"cannot be understood ({type(error).__name__}: {str(error)[:200]}): check "
            f"{repo.path} with 'git fsck', or put a fresh clone in its place",
        ) from error


def unusable(location: str, error: OSError | ValueError) -> RepositoryError:
    """What ``error``, which came of a file of the repository, means."""
    return RepositoryError(
        location,
        f"cannot be used ({error}): check that the folder is there, that its disk works and has "
        "room, and that this user may use it",
    )
