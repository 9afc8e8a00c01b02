"""Child processes of a benchmark: started together, gone together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.harness.errors import ChildFailed
from bus.leash import leashed

START_TIMEOUT: Final = 30.0
"""Seconds until a child must be ready."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> float:
    """Resident memory of a process in MB (2**20 bytes), now.

    Raises:
        ProcessLookupError: there is no such process.
    """
    return _status(pid, "VmRSS:")


def anonymous(pid: int) -> float:
    """The part of :func:`rss` that is its own data. The rest is pages of files, such as its
    program, which the kernel takes away from who does not use them and gives back at will.

    Raises:
        ProcessLookupError: there is no such process.
    """
    return _status(pid, "RssAnon:")


def _status(pid: int, name: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError as error:
        raise ProcessLookupError(f"process {pid} is gone") from error
    for line in status.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used so far, in steps of 10 ms.

    Raises:
        ProcessLookupError: there is no such process.
    """
    return parent_and_cpu(pid)[1]


def parent_and_cpu(pid: int) -> tuple[int, float]:
    """The parent of a process, and as :func:`cpu`.

    Raises:
        ProcessLookupError: there is no such process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError as error:
        raise ProcessLookupError(f"process {pid} is gone") from error
    # The name, in brackets, may hold blanks and brackets.
    fields = stat.rpartition(")")[2].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS


class Child:
    """A process that has said that it is ready."""

    def __init__(
        self, process: asyncio.subprocess.Process, said: str, took: float, command: str
    ) -> None:
        self.process = process
        self.said = said
        """Its ready line."""
        self.took = took
        """Seconds from start to its ready line."""
        self._command = command
        self._stopped = False
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        # What it says later is read, or a full pipe would stop it in the middle of a sentence.
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self.process.pid

    def rss(self) -> float:
        """As :func:`rss`.

        Raises:
            ChildFailed: it has ended.
        """
        return self._read_off(rss)

    def cpu(self) -> float:
        """As :func:`cpu`.

        Raises:
            ChildFailed: it has ended.
        """
        return self._read_off(cpu)

    def _read_off(self, what: Callable[[int], float]) -> float:
        try:
            return what(self.pid)
        except ProcessLookupError as error:
            raise ChildFailed(self._command, "has ended") from error

    def check(self) -> None:
        """Raises:
        ChildFailed: it has ended, and nobody here ended it.
        """
        if self.process.returncode is not None and not self._stopped:
            raise ChildFailed(self._command, f"ended with {self.process.returncode} half-way")

    async def line(self, timeout: float = 60.0) -> str:
        """The next line that it prints after its ready line.

        Raises:
            ChildFailed: it ended, or printed nothing for ``timeout`` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                line = await self._lines.get()
        except TimeoutError as error:
            raise ChildFailed(self._command, f"said nothing for {timeout:g} s") from error
        if line is None:
            self._lines.put_nowait(None)  # for whoever asks again
            raise ChildFailed(self._command, f"ended with {await self.process.wait()}")
        return line

    async def tell(self, line: str) -> None:
        """Write a line to its standard input.

        Raises:
            ChildFailed: it has ended, or was started without one.
        """
        if self.process.stdin is None:
            raise ChildFailed(self._command, "was started without standard input")
        try:
            self.process.stdin.write(f"{line}\n".encode())
            await self.process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChildFailed(self._command, "has ended") from error

    async def kill(self) -> None:
        """SIGKILL, and wait for it."""
        self._stopped = True
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            if self.process.returncode is None:
                self.process.kill()
        await self.process.wait()
        await self._reading

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after five seconds."""
        self._stopped = True
        with contextlib.suppress(ProcessLookupError, TimeoutError):  # it has ended, or will not
            if self.process.returncode is None:
                self.process.terminate()
                async with asyncio.timeout(5):
                    await self.process.wait()
        await self.kill()

    async def _read(self) -> None:
        stream = self.process.stdout
        while stream is not None and (line := await stream.readline()):
            self._lines.put_nowait(line.decode(errors="replace").rstrip("\n"))
        self._lines.put_nowait(None)


async def spawn(
    *arguments: str,
    python: str = sys.executable,
    stdin: bool = False,
    environment: Mapping[str, str] | None = None,
    timeout: float = START_TIMEOUT,
) -> Child:
    """Start ``python ARGUMENTS`` and wait for a line that begins with ``ready``, or says
    ``... ready: ...`` as the processes of ``fleetbus`` do. It dies with this process.

    Args:
        python: the interpreter, of another environment for instance.
        stdin: give it a pipe for :meth:`Child.tell`.
        environment: variables beside those of this process.
        timeout: seconds until it must be ready.

    Raises:
        ChildFailed: it ended instead, or said nothing.
    """
    command = " ".join(["python", *arguments])
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *leashed([python, *arguments]),
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        # Ctrl-C in a terminal is for whoever measures: he stops them in order.
        start_new_session=True,
    )
    if process.stdout is None:
        raise ChildFailed(command, "was started without standard output")
    try:
        async with asyncio.timeout(timeout):
            while line := await process.stdout.readline():
                if line.startswith(b"ready") or b" ready: " in line:
                    took = time.perf_counter() - begun
                    return Child(process, line.decode().strip(), took, command)
        raise ChildFailed(command, f"ended with {await process.wait()} before it was ready")
    except BaseException as error:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if isinstance(error, TimeoutError):
            raise ChildFailed(command, f"was not ready after {timeout:g} s") from error
        raise


@asynccontextmanager
async def running(*commands: tuple[str, ...]) -> AsyncIterator[list[Child]]:
    """Several processes, started in order, stopped at the end.

    Raises:
        ChildFailed: one did not start, or had ended by itself when the work was done: what was
            measured without it is worth nothing.
    """
    children: list[Child] = []
    try:
        for command in commands:
            children.append(await spawn(*command))
        yield children
        for child in children:
            child.check()
    finally:
        await asyncio.gather(*(child.stop() for child in children))
