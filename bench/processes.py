"""Child processes of a benchmark: started together, gone together."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bus.leash import leashed

START_TIMEOUT: Final = 30.0


class Child:
    """A process that has said that it is ready."""

    def __init__(self, process: asyncio.subprocess.Process, took: float) -> None:
        self.process = process
        self.took = took
        """Seconds from start to its ready line."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def rss(self) -> float:
        """Resident megabytes, now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"process {self.pid} has no VmRSS")

    async def kill(self) -> None:
        """SIGKILL, and wait for it."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after five seconds."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(5):
                    await self.process.wait()
            except TimeoutError:
                await self.kill()


async def spawn(*arguments: str) -> Child:
    """Start ``python ARGUMENTS`` and wait for a line with ``ready`` in it.

    Raises:
        RuntimeError: it ended instead.
    """
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *leashed([sys.executable, *arguments]), stdout=asyncio.subprocess.PIPE
    )
    if process.stdout is None:
        raise RuntimeError("no pipe to the child")
    async with asyncio.timeout(START_TIMEOUT):
        while line := await process.stdout.readline():
            if b"ready" in line:
                return Child(process, time.perf_counter() - begun)
    raise RuntimeError(f"{' '.join(arguments)} ended with {await process.wait()} and was not ready")


@asynccontextmanager
async def running(*commands: tuple[str, ...]) -> AsyncIterator[list[Child]]:
    """Several processes, started in order, stopped at the end."""
    children: list[Child] = []
    try:
        for command in commands:
            children.append(await spawn(*command))
        yield children
    finally:
        await asyncio.gather(*(child.stop() for child in children))
