"""The agent under test as a child process that cannot outlive this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bus.leash import leashed
from fleetbus.conformance.check import Failed

KEPT: Final = 20
"""Last lines of output that are kept."""

LAST_WORDS: Final = 1.0
"""Seconds that what a process wrote before its end may take to arrive."""


class Process:
    """One run of the agent command."""

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """``command[0]`` is a path; ``variables`` are laid over this process's environment;
        ``on_line`` gets each line of output."""
        self._command = list(command)
        self._variables = dict(variables)
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.lines: deque[str] = deque(maxlen=KEPT)
        """What it wrote last, stdout and stderr."""

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs or before it was started."""
        return self._process.returncode if self._process is not None else None

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    async def start(self) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started.
        """
        self._process = await asyncio.create_subprocess_exec(
            *leashed(self._command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self._variables},
            # Ctrl-C in the terminal reaches us, and we end it.
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(), name="agent-output")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                self._process.send_signal(number)

    async def ended(self, what: str, timeout: float) -> int:
        """Its exit status, once it has ended.

        Raises:
            Failed: it still runs after ``timeout`` seconds; ``what`` says what should have
                ended it.
        """
        if self._process is None:
            raise Failed(f"the process ended after {what}", "it was never started")
        try:
            async with asyncio.timeout(timeout):
                status = await self._process.wait()
        except TimeoutError:
            raise Failed(
                f"the process ended after {what}", f"it still runs after {timeout:g} s"
            ) from None
        await self._heard()
        return status

    async def kill(self) -> None:
        """SIGKILL to it and what it has started; wait until it is gone."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await self._heard()

    async def _heard(self) -> None:
        if self._reader is not None:
            # A process of its own making may hold the pipe open for longer.
            await asyncio.wait((self._reader,), timeout=LAST_WORDS)
            self._reader.cancel()

    async def _read(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        buffer = b""
        while data := await self._process.stdout.read(65536):
            *lines, buffer = (buffer + data).split(b"\n")
            if len(buffer) > 65536:
                lines, buffer = [*lines, buffer], b""
            for line in lines:
                self._say(line)
        if buffer:
            self._say(buffer)

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self.lines.append(text)
        if self._on_line is not None:
            self._on_line(text)
