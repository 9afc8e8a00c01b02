"""Runs a folder that was made for a device on MicroPython in Node.js."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from bus.testing import eventually
from tests.support.cli import Running, launched

HERE: Final = Path(__file__).resolve().parent
HOST: Final = HERE / "host.mjs"
INSTALL: Final = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")


def node() -> str:
    """The path of Node.js, with MicroPython installed beside host.mjs; skips the test without."""
    found, why = _installed()
    if why:
        pytest.skip(why)
    return found


@cache
def _installed() -> tuple[str, str]:
    """Node's path, or why there is none. npm is asked once, and for a new version."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        return "", "there is no node on PATH"
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    ((name, version),) = wanted.items()
    # Other processes run tests too, and one is to install it.
    with (HERE / "package.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _with_package(node, npm, name, version)


def _with_package(node: str, npm: str | None, name: str, version: str) -> tuple[str, str]:
    package = HERE / "node_modules" / name / "package.json"
    if package.is_file() and json.loads(package.read_text())["version"] == version:
        return node, ""
    if npm is None:
        return "", f"there is no npm on PATH to install {name}"
    try:
        done = subprocess.run(
            [npm, *INSTALL], cwd=HERE, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return "", f"npm did not install {name} within 120 s"
    why = f"npm cannot install {name}: {done.stderr.strip()[-300:]}" if done.returncode else ""
    return node, why


class Board(Running):
    """A device that runs."""

    async def heap(self) -> int:
        """Bytes of heap in use after a collection."""
        seen = len(self.lines)
        self.send(signal.SIGUSR2)

        def said() -> str:
            return next((one for one in self.lines[seen:] if one.startswith("heap ")), "")

        return int((await eventually(said, 5.0)).split()[1])


@asynccontextmanager
async def board(folder: Path, **env: str) -> AsyncIterator[Board]:
    """Run the main.py of ``folder``; it is killed at the end if it has not ended by then."""
    async with launched(Board, node(), str(HOST), str(folder), cwd=None, **env) as running:
        yield running
