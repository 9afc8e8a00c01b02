"""The processes of a side: started together in the peer's environment, counted, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness.processes import Child, parent_and_cpu, spawn
from bench.peers.environment import ROOT

START_TIMEOUT: Final = 60.0
"""Seconds for one process: AutoGen and Celery import much."""
ENVIRONMENT: Final = {
    "PYTHONPATH": str(ROOT),
    # As its documentation has it; read when it is imported.
    "AUTOGEN_DISABLE_RUNTIME_TRACING": "true",
}


@dataclass(frozen=True, slots=True)
class Mortal:
    """How workers are set up that are to be killed."""

    hands: int = 2
    """Tasks that each has in hand."""
    recovery: float = 5.0
    """Seconds after which their tasks are given out again, where a peer can be told."""


async def start(
    children: list[Child],
    commands: Sequence[tuple[str, ...]],
    log: Path,
    python: str = "",
    *,
    stdin: bool = False,
) -> list[Child]:
    """Start all at once and wait until each is ready.

    Args:
        children: each is appended as soon as it runs, for whoever must end it if another fails.
        python: the interpreter; this one by default.

    Raises:
        ExceptionGroup: of ChildFailed.
    """

    async def one(command: tuple[str, ...]) -> Child:
        child = await spawn(
            *command,
            python=python or sys.executable,
            stdin=stdin,
            environment={**ENVIRONMENT, "PEER_LOG": str(log)},
            timeout=START_TIMEOUT,
        )
        children.append(child)
        return child

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(command)) for command in commands]
    return [task.result() for task in tasks]


def family_cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time of these processes and of their living descendants, so far."""
    used, _ = _table()
    return sum(used.get(pid, 0.0) for pid in family(pids))


def family(pids: Iterable[int]) -> set[int]:
    """These processes and their descendants."""
    _, children = _table()
    found: set[int] = set()
    new = set(pids)
    while new:
        found |= new
        new = {child for pid in new for child in children[pid]} - found
    return found


async def kill(child: Child) -> None:
    """SIGKILL for a process and its descendants, as if their machine were gone."""
    # Not the process itself: before it signals, Popen looks whether it has ended, which takes the
    # exit status from asyncio's watcher if it has just been killed.
    for pid in family([child.pid]) - {child.pid}:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)
    await child.kill()


def _table() -> tuple[dict[int, float], defaultdict[int, list[int]]]:
    """The processor time of every process, and the children of each."""
    used: dict[int, float] = {}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for file in Path("/proc").glob("[0-9]*/stat"):
        pid = int(file.parent.name)
        try:
            parent, used[pid] = parent_and_cpu(pid)
        except ProcessLookupError:
            continue  # it has just ended
        children[parent].append(pid)
    return used, children
