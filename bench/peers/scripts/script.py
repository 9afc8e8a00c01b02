"""What every peer's script begins with: its arguments, where it logs, the task, the orders.

A script is started as ``python -m bench.peers.scripts.<peer> ROLE JSON``, says ``ready`` with the
versions of what it uses, and goes on until it is killed. A driver reads orders from standard
input, one JSON object a line (:class:`~bench.peers.scripts.loop.Order`), and answers each with
the lines of its tally.

Only the standard library: this runs in every peer's environment, and in ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from importlib.metadata import version

from bench.peers.scripts.loop import Operation, Order, closed_loop, nap_of


@dataclass(frozen=True)
class Setup:
    """How a peer is to run."""

    role: str
    server: str
    """The address of its server: a URL, or host and port."""
    number: int = 0
    """Of a worker, from 0."""
    processes: int = 1
    """Processes that a worker is to have, where it has a pool of them."""
    hands: int = 0
    """Tasks that a worker takes at a time; 0: as many as is fast."""
    recovery: float = 0.0
    """Seconds after which a dead worker's tasks are given out again; 0: the peer's own."""
    late: bool = False
    """Acknowledge when the task has ended, where that is a choice."""
    typed: bool = False
    """Let the peer validate the data, where that is a choice."""

    @classmethod
    def read(cls) -> Setup:
        """From the command line. From now on, standard error goes to the file that ``PEER_LOG``
        names: what peers log is worth reading only if they fail."""
        if name := os.environ.get("PEER_LOG"):
            log = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, sys.stderr.fileno())
            os.close(log)
        return cls(sys.argv[1], **json.loads(sys.argv[2]))


def ready(*packages: str) -> None:
    """Say so, and with which packages."""
    print("ready", ", ".join(f"{package} {version(package)}" for package in packages), flush=True)


def note_begun(data: str) -> float:
    """Called by a task when it is begun: how long it is to take, which goes into its log with
    the process."""
    seconds, log = nap_of(data)
    if seconds:
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\n")
    return seconds


async def answer(data: str) -> str:
    """The task of all peers: answer with the data, at once or after a nap."""
    if seconds := note_begun(data):
        await asyncio.sleep(seconds)
    return data


async def serve(operation: Operation, *packages: str) -> None:
    """Be a driver until standard input ends."""
    ready(*packages)
    while line := await asyncio.to_thread(sys.stdin.readline):
        tally = await closed_loop(operation, Order(**json.loads(line)))
        print("\n".join(tally.lines()), flush=True)
