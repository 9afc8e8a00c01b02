"""Child processes that run ``fleetbus``, end with this process, and are ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bus.leash import leashed

ROOT: Final = Path(__file__).resolve().parent.parent

LAST_WORDS: Final = 1.0
"""Seconds that what a process wrote before its end may take to arrive."""


class Child:
    """One ``fleetbus …`` process. It has a session of its own, so that Ctrl-C in the terminal
    reaches this process, which ends its children in order."""

    def __init__(self, arguments: Sequence[str], on_line: Callable[[str], None] | None) -> None:
        """``on_line`` gets each line it prints; with None it prints where this process does."""
        self.arguments = list(arguments)
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Process id; 0 before it was started."""
        return self._process.pid if self._process is not None else 0

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.returncode if self._process is not None else None

    async def start(self) -> None:
        """Start the process.

        Raises:
            OSError: it cannot be started.
        """
        # With -m the working directory comes first among the places to import from, and a file
        # of the user's that is called as a package of ours would hide it.
        safe = ["-P"] if Path.cwd() != ROOT else []
        self._process = await asyncio.create_subprocess_exec(
            *leashed([sys.executable, *safe, "-m", "fleetbus", *self.arguments]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if self._on_line else None,
            start_new_session=True,
        )
        if self._on_line is not None:
            self._reader = asyncio.create_task(self._read(self._on_line), name="child-output")

    async def wait(self) -> int:
        """Wait for its end; return its exit status."""
        if self._process is None:
            return 0
        status = await self._process.wait()
        if self._reader is not None:
            # A process of its own making may hold the pipe open for longer.
            await asyncio.wait((self._reader,), timeout=LAST_WORDS)
            self._reader.cancel()
        return status

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                self._process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM and wait; SIGKILL when cancelled. Returns the exit status."""
        self.send(signal.SIGTERM)
        try:
            return await self.wait()
        except asyncio.CancelledError:
            self.send(signal.SIGKILL)
            raise

    async def _read(self, on_line: Callable[[str], None]) -> None:
        if self._process is None or self._process.stdout is None:
            return
        buffer = b""
        while data := await self._process.stdout.read(65536):
            # Not readline: a line without an end must not end the reading.
            *lines, buffer = (buffer + data).split(b"\n")
            if len(buffer) > 65536:
                lines, buffer = [*lines, buffer], b""
            for line in lines:
                on_line(line.decode("utf-8", "replace"))
        if buffer:
            on_line(buffer.decode("utf-8", "replace"))


def ended(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
