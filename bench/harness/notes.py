"""What handlers note about themselves, in a file that all agents of a run share.

Only this says what really ran: results tell of the attempt that won.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["began", "refused"]


class Entry(NamedTuple):
    """One line."""

    at: float
    """Seconds of the machine's monotonic clock, the same for all processes."""
    kind: str
    """``began``: a handler was started. ``refused``: the broker had a result already."""
    agent: str
    task: str


class Notebook:
    """Writes to the file. Each line is one write, so whole lines survive a SIGKILL."""

    def __init__(self, path: Path | str, agent: str) -> None:
        self._agent = agent
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, kind: Kind, task: str) -> None:
        """Add a line."""
        line = f"{time.monotonic():.6f} {kind} {self._agent} {task}\n"
        os.write(self._descriptor, line.encode())

    def close(self) -> None:
        """Nothing more will be noted."""
        os.close(self._descriptor)


def read(path: Path) -> list[Entry]:
    """All lines in the order in which they were written; none where there is no file yet."""
    if not path.exists():
        return []
    with path.open() as file:
        return [_parse(line) for line in file]


def _parse(line: str) -> Entry:
    at, kind, agent, task = line.split()
    return Entry(float(at), kind, agent, task)


class Follower:
    """Counts what ran twice while the file grows, for hours if need be.

    Args:
        path: the file.
        keep: seconds for which a task that began is remembered; by then it has ended.
    """

    def __init__(self, path: Path, keep: float = 120.0) -> None:
        self.killed: set[str] = set()
        """Agents that were; to be named before they are."""
        self.again = 0
        """Tasks that began again after their agent was killed."""
        self.duplicated = 0
        """Those that began again although their agent lived."""
        self.refused = 0
        self._path = path
        self._keep = keep
        self._place = 0
        self._recent: dict[str, str] = {}
        self._older: dict[str, str] = {}
        self._turned = time.monotonic()

    def read(self) -> None:
        """Take in the lines that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._place)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._place += whole
        for line in data[:whole].decode().splitlines():
            entry = _parse(line)
            if entry.kind == "refused":
                self.refused += 1
            else:
                self._begun(entry)
        if time.monotonic() - self._turned > self._keep:
            self._turned = time.monotonic()
            self._older, self._recent = self._recent, {}

    def _begun(self, entry: Entry) -> None:
        earlier = self._recent.get(entry.task) or self._older.get(entry.task)
        if earlier in self.killed:
            self.again += 1
        elif earlier is not None:
            self.duplicated += 1
        self._recent[entry.task] = entry.agent


def duplicated(entries: Iterable[Entry], killed: Collection[str]) -> int:
    """Handlers that were started for a task that an agent had that was not killed: the fleet
    knew of that one, or should have. Pure."""
    begun: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.kind == "began":
            begun[entry.task].append(entry.agent)
    return sum(
        sum(1 for agent in agents[:-1] if agent not in killed)
        for agents in begun.values()
        if len(agents) > 1
    )


def refused(entries: Iterable[Entry]) -> int:
    """Results that the broker did not take because the task had one. Pure."""
    return sum(1 for entry in entries if entry.kind == "refused")


def restarts(
    entries: Iterable[Entry], affected: Collection[str], killed: Collection[str], at: float
) -> list[float]:
    """Seconds from ``at`` until each affected task was started on an agent that lives. Pure."""
    first: dict[str, float] = {}
    for entry in entries:
        if (
            entry.kind == "began"
            and entry.at > at
            and entry.task in affected
            and entry.agent not in killed
        ):
            first.setdefault(entry.task, entry.at - at)
    return list(first.values())


def longest_gap(entries: Iterable[Entry], begin: float, end: float) -> float:
    """The longest time between ``begin`` and ``end`` in which no handler was started. Pure."""
    times = [e.at for e in entries if e.kind == "began" and begin < e.at < end]
    marks = [begin, *sorted(times), end]
    return max(later - earlier for earlier, later in pairwise(marks))
