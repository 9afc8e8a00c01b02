"""A record of handlers that were entered, kept beside the bus and so a witness of its own.

Each agent appends one line a start to a file of its own. The operating system has it once it
is written: not even SIGKILL takes it back.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


class Ledger:
    """One agent's record. Safe to use from several threads."""

    def __init__(self, directory: Path, agent: str) -> None:
        self._path = directory / f"{agent}.starts"
        self._file: int | None = None

    def open(self) -> None:
        """Begin. Raises ``OSError`` if the directory is not there."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)

    def close(self) -> None:
        """End."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def started(self, task: str) -> None:
        """A handler is entered for ``task``.

        Raises:
            ValueError: the ledger is not open.
        """
        if self._file is None:
            raise ValueError(f"ledger {self._path} is not open")
        # One write of a short line to a file in append mode: threads cannot mix theirs.
        os.write(self._file, f"{time.time():.6f} {task}\n".encode())


@dataclass(frozen=True, slots=True)
class Start:
    """A handler was entered."""

    at: float
    """Unix time."""
    agent: str
    task: str


def read(directory: Path) -> list[Start]:
    """All starts of all agents, oldest first."""
    found: list[Start] = []
    for path in directory.glob("*.starts"):
        for line in path.read_text(encoding="ascii").splitlines():
            at, _, task = line.partition(" ")
            found.append(Start(float(at), path.stem, task))
    return sorted(found, key=lambda start: start.at)
