"""Keeps two servers off one store: nats-server itself would let them corrupt it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final, Self

from bus.errors import ServerError

if sys.platform != "win32":
    import fcntl

_PATIENCE: Final = 1.0
"""Seconds that a server which was killed with its parent may take to let go of the store."""
_POLL: Final = 0.02


class StoreLock:
    """An exclusive lock on a store directory.

    The server is to inherit ``descriptor``: the store is then locked until both the server and
    this process have let go of it.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    async def take(cls, directory: Path) -> Self:
        """Lock ``directory``, which is made if it does not exist.

        Raises:
            ServerError: another process has it, or it cannot be made.
        """
        if sys.platform == "win32":
            raise ServerError("the embedded server needs Linux or macOS: run nats-server yourself")
        descriptor = _open(directory)
        try:
            await _lock(descriptor, directory)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        os.close(self.descriptor)


def _open(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as problem:
        raise ServerError(f"store directory {directory}: {problem.strerror}") from None


async def _lock(descriptor: int, directory: Path) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_POLL)
                else:
                    return
    except TimeoutError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        raise ServerError(
            f"store directory {directory} is in use by process {holder or 'unknown'}: "
            "connect to the server there, stop it, or choose another directory"
        ) from None
