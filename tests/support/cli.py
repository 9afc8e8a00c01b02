"""Runs the real command line as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
"""Where ``python -m fleetbus`` finds the packages."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Its output as one JSON document."""
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """What a command gets: no colours, no settings of this machine."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FLEETBUS_")}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more}


async def fleetbus(
    *arguments: str, timeout: float = 20.0, stdin: str | None = None, **env: str
) -> Done:
    """Run ``fleetbus <arguments>`` to its end, with ``stdin`` piped into it if given."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fleetbus",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**env),
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(None if stdin is None else stdin.encode())
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"did not end in {timeout:g} s: {out!r} {err!r}") from None
    return Done(process.returncode or 0, out.decode(), err.decode())


@dataclass
class Running:
    """A command that runs on. ``lines`` grows with its stdout and stderr, mixed."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def says(self, text: str, timeout: float = 15.0) -> str:
        """Wait for a line that has ``text`` in it; return it."""
        from bus.testing import eventually

        def seen() -> str:
            assert self.process.returncode is None or text in self.text, self.text
            return next((line for line in self.lines if text in line), "")

        return await eventually(seen, timeout)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGINT, timeout: float = 15.0) -> int:
        """Send a signal and wait; return the exit status."""
        self.send(number)
        async with asyncio.timeout(timeout):
            return await self.process.wait()


R = TypeVar("R", bound=Running)


@asynccontextmanager
async def launched(
    kind: type[R], *command: str, cwd: Path | None = None, **env: str
) -> AsyncIterator[R]:
    """Run a command as a ``kind``; it is killed at the end if it has not ended by then."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=cwd,
        env=environment(**env),
    )
    running = kind(process)

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            running.lines.append(line.decode().rstrip("\n"))

    reader = asyncio.create_task(read())
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        # What it left running would hold the pipe open: that is for the test to find.
        await asyncio.wait((reader,), timeout=2.0)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


@asynccontextmanager
async def started(*arguments: str, cwd: Path | None = None, **env: str) -> AsyncIterator[Running]:
    """Run ``fleetbus <arguments>``, as ``launched`` does."""
    command = (sys.executable, "-m", "fleetbus", *arguments)
    async with launched(Running, *command, cwd=cwd, **env) as running:
        yield running
