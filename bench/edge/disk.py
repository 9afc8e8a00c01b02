"""The disk of a simulated device: a folder that a loss of power leaves as it is."""

from __future__ import annotations

import errno
from typing import Any

from edge.files import Files


class Disk(Files):
    """The machine's file system, without waiting for its disk: what a loss of power does to
    blocks is simulated elsewhere, at every write boundary."""

    def __init__(self) -> None:
        self.on = True
        self._opened: list[Any] = []

    def cut(self) -> None:
        """Nothing is written from now on."""
        self.on = False
        for file in self._opened:
            file.close()
        self._opened.clear()

    def open(self, path: str, mode: str) -> Any:
        """As its base, while there is power."""
        self._check()
        self._opened = [one for one in self._opened if not one.closed]
        file = super().open(path, mode)
        self._opened.append(file)
        return file

    def remove(self, path: str) -> None:
        """As its base, while there is power."""
        self._check()
        super().remove(path)

    def rename(self, old: str, new: str) -> None:
        """As its base, while there is power."""
        self._check()
        super().rename(old, new)

    def write(self, file: Any, data: bytes) -> None:
        """As its base, while there is power."""
        self._check()
        super().write(file, data)

    def sync(self, file: Any) -> None:
        """Nothing: the kernel has it, and it lives on."""
        self._check()

    def sync_folder(self, folder: str) -> None:
        """Nothing, as above."""

    def _check(self) -> None:
        if not self.on:
            raise OSError(errno.EIO, "the device has no power")
