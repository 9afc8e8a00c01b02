"""Under what circumstances a run was made: machine, versions, and what else was going on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from bench.harness.figures import Fact
from bus.server_probe import find_binary
from bus.version import VERSION

PACKAGES: Final = ("nats-py", "uvloop", "msgspec")


def facts() -> list[Fact]:
    """What does not change while a run goes on.

    Raises:
        ServerError: there is no nats-server.
    """
    found = {
        "fleetbus": f"{VERSION}{_commit()}",
        "nats-server": _output(str(find_binary()), "--version").removeprefix("nats-server: "),
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        **{package: _version(package) for package in PACKAGES},
        "system": f"{_system()}, kernel {platform.release()}",
        "processor": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{_memory_gib():.0f} GiB",
    }
    return [Fact(name, value) for name, value in found.items() if value]


class Interference:
    """How much of the machine went to others while a run was going on.

    On a virtual machine the host takes ("steals") time that no process here can account for;
    beside it the load at the start tells of neighbours on the same system.
    """

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._stolen, self._total = _ticks()

    def facts(self) -> list[Fact]:
        """Since it was made."""
        stolen, total = _ticks()
        share = (stolen - self._stolen) / max(1, total - self._total)
        return [
            Fact("load before the run", f"{self._load:.1f} processes on {os.cpu_count()} cores"),
            Fact("stolen by the host", f"{share:.1%} of the processor time"),
        ]


def _ticks() -> tuple[int, int]:
    try:
        line = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:  # not Linux: nothing is known
        return 0, 0
    ticks = [int(one) for one in line.split()[1:]]
    return (ticks[7] if len(ticks) > 7 else 0), sum(ticks[:8])


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    commit = _output("git", "-C", str(root), "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return f" at {commit}{' with changes' if changed else ''}" if commit else ""


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # a fact that cannot be had is left out
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
