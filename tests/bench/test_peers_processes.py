"""Families of processes: what they use, and how all of one are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.harness.processes import Child, spawn
from bench.peers.processes import family, family_cpu, kill, start
from bus.testing import eventually

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print("ready", child.pid, flush=True)
time.sleep(60)
"""


async def test_a_family_is_counted_and_killed_with_its_children() -> None:
    parent = await spawn("-c", PARENT)
    try:
        child = int(parent.said.split()[1])
        assert family([parent.pid]) == {parent.pid, child}
        before = family_cpu([parent.pid])

        await eventually(lambda: family_cpu([parent.pid]) > before)
    finally:
        await kill(parent)

    assert parent.process.returncode == -9
    # Its child is init's now, who may take its time to see the end of it.
    await eventually(lambda: _ended(child))


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_those_that_run_are_known_when_another_does_not_start(tmp_path: Path) -> None:
    children: list[Child] = []
    try:
        with pytest.raises(ExceptionGroup, match="unhandled errors"):
            await start(
                children,
                [
                    ("-c", "print('ready', flush=True); input()"),
                    ("-c", "import time; time.sleep(0.5); raise SystemExit(3)"),
                ],
                tmp_path / "log",
            )
        assert len(children) == 1
    finally:
        for child in children:
            await child.stop()
