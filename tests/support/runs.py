"""A file in which every start of a handler is noted, by whatever process: what really ran."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One start of a handler."""

    at: float
    """Unix time."""
    agent: str
    task: str
    attempt: int
    key: str
    """What the task was told to call itself."""


def note(path: Path | str, agent: str, task: str, attempt: int, key: str) -> None:
    """Add a run. One write to a file opened for appending: whole lines, even after SIGKILL."""
    line = f"{time.time()} {agent} {task} {attempt} {key}\n".encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


class Runs:
    """Reads the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def all(self) -> list[Run]:
        """In the order in which they were noted."""
        found = []
        for line in self.path.read_text().splitlines():
            at, agent, task, attempt, key = line.split(" ")
            found.append(Run(float(at), agent, task, int(attempt), key))
        return found

    def of(self, agent: str) -> list[Run]:
        return [run for run in self.all() if run.agent == agent]

    def after(self, at: float) -> list[Run]:
        return [run for run in self.all() if run.at > at]

    def times(self) -> Counter[str]:
        """How often each key was started."""
        return Counter(run.key for run in self.all())
