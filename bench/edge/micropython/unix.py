"""MicroPython's unix port: where it is, and the processor time that it takes to be ready."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness.errors import ChildFailed, Missing

HEAP: Final = 256
"""KB that a 32-bit port gets, twice that for 64 bits: enough to compile source."""
FACTS: Final = """
import sys
version = ".".join(str(one) for one in sys.implementation[1][:3])
sys.path[:] = [".frozen"]
try:
    import edge
    frozen = 1
except ImportError:
    frozen = 0
print(64 if sys.maxsize > 2**32 else 32, version, frozen)
"""
NOTHING: Final = "import time; print('x ready: '); time.sleep(60)"
"""A program that does nothing but say that it is there."""
TIMEOUT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Unix:
    """The port that is on PATH."""

    path: str
    bits: int
    version: str
    frozen: bool
    """Edge is in its firmware."""

    def arguments(self, folder: Path) -> tuple[str, ...]:
        """What it gets to run the ``main.py`` of a device's folder."""
        return (*self._heap, str(folder / "main.py"))

    @property
    def nothing(self) -> tuple[str, ...]:
        """What it gets to run ``NOTHING``."""
        return (*self._heap, "-c", NOTHING)

    @property
    def _heap(self) -> tuple[str, str]:
        return "-X", f"heapsize={HEAP * self.bits // 32}k"

    def processor(self, arguments: tuple[str, ...], environment: Mapping[str, str]) -> float:
        """Milliseconds of processor time from its start until it says that it is ready. Blocks.

        Raises:
            ChildFailed: it ended instead, or did not say so in time.
        """
        command = [self.path, *arguments]
        # Not on a leash, which would be another program in the same process, and be counted. And
        # not started by uvloop, which forks: giving up its copy of our memory takes milliseconds.
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        ) as process:
            if process.stdout is None:
                raise ChildFailed(self.path, "was started without standard output")
            late = threading.Timer(TIMEOUT, process.kill)
            late.start()
            try:
                for line in process.stdout:
                    if b" ready: " in line:
                        return _on_processor(process.pid)
                raise ChildFailed(" ".join(command), f"was not ready within {TIMEOUT:g} s")
            finally:
                late.cancel()
                process.kill()


def unix() -> Unix:
    """The port on PATH.

    Raises:
        Missing: there is none, or it cannot be run.
    """
    path = shutil.which("micropython")
    if path is None:
        remedy = "build ports/unix of MicroPython and put its micropython on PATH"
        raise Missing("MicroPython's unix port", remedy)
    try:
        done = subprocess.run(
            [path, "-c", FACTS], capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
        bits, version, frozen = done.stdout.split()
    except (OSError, ValueError, subprocess.SubprocessError) as problem:
        raise Missing("MicroPython's unix port", f"{path} does not run: {problem}") from problem
    return Unix(path, int(bits), version, frozen == "1")


def _on_processor(pid: int) -> float:
    """Its first number: nanoseconds on a processor, far finer than the ticks of ``stat``."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6
