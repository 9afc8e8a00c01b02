"""A disk that loses power: what was not synced may be lost, torn, mixed up or come in any order.

Content is safe once its file is synced, a name once its folder is. What a power cut leaves of
the rest is drawn at random: see :meth:`Disk.after_cut`.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Any

from edge.files import Files

SECTOR = 16
"""Bytes that are written whole or not at all; small, so that records span several."""


class PowerCutError(BaseException):
    """No error that the code under test could handle."""


class _Node:
    """A file's content, whatever its name is."""

    def __init__(self, content: bytes = b"") -> None:
        self.now = bytearray(content)
        self.safe = content


class _Open:
    def __init__(self, disk: Disk, node: _Node, writable: bool) -> None:
        self._disk, self.node, self._writable = disk, node, writable
        self._at = 0
        self._closed = False

    def write(self, data: bytes) -> int:
        assert self._writable
        assert not self._closed
        return self._disk.written(self.node, data)

    def read(self, count: int) -> bytes:
        assert not self._closed
        self._disk.reading()
        data = bytes(self.node.now[self._at : self._at + count])
        self._at += len(data)
        return data

    def seek(self, at: int) -> None:
        assert not self._closed
        self._at = at

    def close(self) -> None:
        if not self._closed:
            self._disk.open_files -= 1
        self._closed = True


class Disk(Files):
    """Names are whole paths, and all begin with "./".

    Args:
        room: bytes that all files may hold; None is no limit.
    """

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.cut_at = -1
        """The number of the operation before which power fails; -1: never."""
        self.operations = 0
        """Operations that change something, so far."""
        self.fail: dict[str, int] = {}
        """Operations that fail, by kind, with this errno."""
        self.open_files = 0
        self.files: dict[str, _Node] = {}
        self.folders = {"."}
        self._safe_files: dict[str, _Node] = {}
        self._safe_folders = {"."}
        self._pending: list[tuple[str, ...]] = []
        """Changes of names that are not safe yet, in order."""
        self._nodes: dict[str, _Node] = {}

    # the port

    def names(self, folder: str) -> list[str]:
        if folder not in self.folders:
            raise OSError(errno.ENOENT, "no such folder")
        names = [path.rpartition("/") for path in self.files]
        return [name for parent, _, name in names if parent == folder]

    def size(self, path: str) -> int:
        return len(self._node(path).now)

    def open(self, path: str, mode: str) -> Any:
        if mode == "rb":
            self.reading()
            node = self._node(path)
        else:
            self._step("open")
            fresh = path not in self.files
            if fresh:
                assert _parent(path) in self.folders
                self.files[path] = _Node()
                self._pending.append(("make", path))
                self._nodes[path] = self.files[path]
            node = self.files[path]
            if mode == "wb":
                node.now.clear()
        self.open_files += 1
        return _Open(self, node, mode != "rb")

    def remove(self, path: str) -> None:
        self._node(path)
        self._step("remove")
        del self.files[path]
        self._pending.append(("remove", path))

    def rename(self, old: str, new: str) -> None:
        self._node(old)
        self._step("rename")
        self.files[new] = self.files.pop(old)
        self._nodes[new] = self.files[new]
        self._pending.append(("rename", old, new))

    def make(self, folder: str) -> None:
        self._step("make")
        self.folders.add(folder)

    def lock(self, folder: str) -> Callable[[], None]:
        return lambda: None

    def sync(self, file: Any) -> None:
        self._step("sync")
        file.node.safe = bytes(file.node.now)

    def sync_folder(self, folder: str) -> None:
        self._step("sync_folder")
        for path in {*self._safe_files, *self.files}:
            if _parent(path) == folder:
                self._safe_files.pop(path, None)
                if path in self.files:
                    self._safe_files[path] = self.files[path]
        self._safe_folders |= {one for one in self.folders if _parent(one) == folder}
        self._pending = [change for change in self._pending if _parent(change[1]) != folder]

    # what happens

    def written(self, node: _Node, data: bytes) -> int:
        """Some bytes are appended; all, or as many as there is room for."""
        if self.operations == self.cut_at:
            # Half of them have reached the disk's cache.
            node.now += data[: len(data) // 2]
        self._step("write")
        if self.room is not None:
            left = self.room - sum(len(node.now) for node in self.files.values())
            if left <= 0:
                raise OSError(errno.ENOSPC, "no space left on device")
            data = data[:left]
        node.now += data
        return len(data)

    def reading(self) -> None:
        if "read" in self.fail:
            raise OSError(self.fail["read"], "made to fail")

    def _step(self, kind: str) -> None:
        if self.operations == self.cut_at:
            raise PowerCutError
        self.operations += 1
        if kind in self.fail:
            raise OSError(self.fail[kind], "made to fail")

    def _node(self, path: str) -> _Node:
        if path not in self.files:
            raise OSError(errno.ENOENT, "no such file")
        return self.files[path]

    # the cut

    def after_cut(self, how: str, rng: random.Random) -> Disk:
        """What is found when power is back.

        Args:
            how: ``lost`` (only what was synced), ``kept`` (all), ``torn`` (some of both).
        """
        found = Disk(self.room)
        found.folders = set(self.folders if how == "kept" else self._safe_folders)
        files = dict(self.files if how == "kept" else self._safe_files)
        if how == "torn":
            if rng.random() < 0.7:
                found.folders |= self.folders
            for change in self._pending:
                # Any of them may have been written, in any order: renaming is one change.
                if rng.random() < 0.5:
                    _apply(files, change, self._nodes)
        for path, node in files.items():
            content = node.safe
            if how == "kept":
                content = bytes(node.now)
            elif how == "torn" and node.now != node.safe:
                content = _torn(node, rng, [bytes(one.now) for one in self._nodes.values()])
            if _parent(path) in found.folders:
                found.files[path] = _Node(content)
        found._safe_files = dict(found.files)
        found._safe_folders = set(found.folders)
        found._nodes = dict(found.files)
        return found


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _apply(files: dict[str, _Node], change: tuple[str, ...], nodes: dict[str, _Node]) -> None:
    kind, path = change[:2]
    if kind == "make":
        files[path] = nodes[path]
    elif kind == "remove":
        files.pop(path, None)
    else:
        files.pop(path, None)
        files[change[2]] = nodes[change[2]]


def _torn(node: _Node, rng: random.Random, stale: list[bytes]) -> bytes:
    """What was synced, and then for each sector what was written, zeros, garbage or old blocks."""
    now, safe = bytes(node.now), node.safe
    start = len(safe) if now.startswith(safe) else 0
    if not start and safe and rng.random() < 0.5:
        return safe  # it was to be replaced
    length = rng.randint(start, len(now))
    content = bytearray(now[:length])
    for at in range(start, length, SECTOR):
        end = min(at + SECTOR, length)
        what = rng.random()
        if what < 0.1:
            content[at:end] = bytes(end - at)
        elif what < 0.2:
            content[at:end] = rng.randbytes(end - at)
        elif what < 0.3:
            other = rng.choice(stale)[at:end]
            content[at : at + len(other)] = other
    if rng.random() < 0.3:
        # The length was written, the content not.
        content += rng.choice(
            [bytes(rng.randint(1, 40)), rng.randbytes(rng.randint(1, 40)), rng.choice(stale)[-60:]]
        )
    return bytes(content)
