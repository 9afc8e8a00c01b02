"""``--reload``: run agents in a child process that is started again when sources change."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fleetbus.children import Child, ended
from fleetbus.console import hint
from fleetbus.targets import source_of

EVERY: Final = 0.4
"""Seconds between looks at the files."""

SKIPPED: Final = frozenset(("__pycache__", "node_modules", "site-packages"))

Stamps = dict[str, int]


async def watch_and_run(targets: Iterable[str]) -> int:
    """Run this process's own command line without ``--reload``, again at each change.

    Returns the exit status of the last run. SIGINT and SIGTERM are passed on.
    """
    arguments = [one for one in sys.argv[1:] if one != "--reload"]
    roots = watched(targets)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    child = Child(arguments, None)

    def on_signal() -> None:
        # The child takes the first as a wish to drain and the second as an order.
        stop.set()
        child.send(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    hint(f"watching {', '.join(str(root) for root in roots)}")
    status = 0
    while not stop.is_set():
        before = stamps(roots)
        child = Child(arguments, None)
        await child.start()
        if stop.is_set():
            # The signal came while there was no process yet to pass it on to.
            child.send(signal.SIGTERM)
        watcher = asyncio.create_task(_changed(roots, before))
        stopper = asyncio.create_task(stop.wait())
        runner = asyncio.create_task(child.wait())
        try:
            await asyncio.wait((watcher, stopper, runner), return_when=asyncio.FIRST_COMPLETED)
            if runner.done() and not stop.is_set():
                hint(f"the agents' process {ended(runner.result())}; waiting for a change")
                await asyncio.wait((watcher, stopper), return_when=asyncio.FIRST_COMPLETED)
            elif watcher.done() and not stop.is_set():
                child.send(signal.SIGTERM)
            status = await runner
            if watcher.done() and not stop.is_set():
                hint(f"{watcher.result()} changed: starting again")
        finally:
            for task in (watcher, stopper, runner):
                task.cancel()
            await asyncio.gather(watcher, stopper, runner, return_exceptions=True)
            child.send(signal.SIGKILL)
    return max(0, status)


def watched(targets: Iterable[str]) -> list[Path]:
    """The directories whose Python files are watched: here, and those of file targets."""
    roots = {Path.cwd()}
    for target in targets:
        source = source_of(target)
        if source is not None and not any(source.is_relative_to(root) for root in roots):
            roots.add(source.parent)
    return sorted(roots)


def stamps(roots: Iterable[Path]) -> Stamps:
    """When each Python file was changed last, in nanoseconds."""
    found: Stamps = {}
    for root in roots:
        for path in _python_files(str(root)):
            try:
                found[path] = os.stat(path).st_mtime_ns
            except OSError:
                # Gone since it was listed: it counts as deleted.
                continue
    return found


def _python_files(root: str) -> Iterator[str]:
    for directory, names, files in os.walk(root):
        names[:] = [
            name
            for name in names
            if not name.startswith(".")
            and name not in SKIPPED
            and not os.path.exists(os.path.join(directory, name, "pyvenv.cfg"))
        ]
        yield from (os.path.join(directory, name) for name in files if name.endswith(".py"))


async def _changed(roots: list[Path], before: Stamps) -> str:
    """The first file that is new, gone or changed."""
    while True:
        await asyncio.sleep(EVERY)
        now = await asyncio.to_thread(stamps, roots)
        for path, _ in sorted(now.items() ^ before.items()):
            return path
