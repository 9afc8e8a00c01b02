"""Runs a folder that was made for a device on MicroPython in Node.js."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.edge.micropython import node as installed
from bench.harness.errors import Missing
from bus.testing import eventually
from tests.support.cli import Running, launched

HOST = installed.HOST


def node() -> str:
    """The path of Node.js, with MicroPython installed beside host.mjs; skips the test without."""
    try:
        return installed.node(install=True)
    except Missing as problem:
        pytest.skip(str(problem))


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
