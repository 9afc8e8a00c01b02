"""What the spool and others need of a file system, the same on CPython and on MicroPython.

What is to survive a power cut must be asked for: ``sync`` for a file's content and
``sync_folder`` for the names in a folder. MicroPython's file systems do both when a file is
flushed (and with ``os.sync`` where the port has it). Its unix port can do neither: there, files
survive the end of the process, not a power cut.
"""

import os

from edge import port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


MISSING = (2, 44)
"""What ``OSError.errno`` is when a file is not there (44 in WebAssembly), and"""
FULL = (28, 51, 122)
"""when there is no room: ENOSPC, the same in WebAssembly, EDQUOT. The errno module of MicroPython
knows not all of them."""


class Files:
    """The file system of this machine. Everything raises ``OSError`` as the system does."""

    def names(self, folder: str) -> "list[str]":
        """The names in a folder, in no order."""
        return os.listdir(folder)

    def size(self, path: str) -> int:
        """The length of a file in bytes."""
        return os.stat(path)[6]

    def open(self, path: str, mode: str) -> "Any":
        """A binary file without a buffer in this process: ``rb``, ``wb`` or ``ab``."""
        return open(path, mode, buffering=0)

    def remove(self, path: str) -> None:
        """Remove a file."""
        os.remove(path)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; what had that name is gone."""
        os.rename(old, new)

    def make(self, folder: str) -> None:
        """Make a folder whose parent is there."""
        os.mkdir(folder)

    def sync(self, file: "Any") -> None:
        """Return when all that was written to an open file will survive a power cut."""
        file.flush()
        if hasattr(os, "fsync"):
            os.fsync(file.fileno())
        elif hasattr(os, "sync"):
            os.sync()

    def sync_folder(self, folder: str) -> None:
        """The same for files that were made, renamed or removed in a folder."""
        if hasattr(os, "O_DIRECTORY"):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        elif hasattr(os, "sync"):
            os.sync()

    if not port.MICRO:  # which has no other processes

        def lock(self, folder: str) -> "Callable[[], None] | None":
            """Have a folder to ourselves until the function that is returned is called; None if
            another process has it."""
            return port.lock(folder)

    # made of the above

    def write(self, file: "Any", data: bytes) -> None:
        """Write all of ``data``: what the disk has no room for is an error, not a short count."""
        if data and file.write(data) != len(data):
            raise OSError(FULL[0], "no space left")

    def make_all(self, folder: str) -> None:
        """Make a folder and those above it, as far as they are missing; they survive then."""
        parent, slash, _ = folder.rpartition("/")
        try:
            self.names(folder)
        except OSError as problem:
            if problem.errno not in MISSING:
                raise
            if parent:
                self.make_all(parent)
            self.make(folder)
            self.sync_folder(parent or slash or ".")

    def replace(self, path: str, data: bytes) -> None:
        """Give a file a new content: after a power cut it has the old one or the new one.

        Where renaming onto a name removes that first (FAT), a cut can leave only the file
        ``path`` + ``.tmp``, which is whole then: the reader tries that first, and tells by a
        checksum whether it is.
        """
        temporary = path + ".tmp"
        file = self.open(temporary, "wb")
        try:
            self.write(file, data)
            self.sync(file)
        finally:
            file.close()
        self.rename(temporary, path)
        self.sync_folder(path.rpartition("/")[0] or ("/" if path[0] == "/" else "."))
