"""Node.js with MicroPython in it: what runs the folder of a device with host.mjs."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from bench.harness.errors import Missing

HERE: Final = Path(__file__).resolve().parent
HOST: Final = HERE / "host.mjs"
"""To be run with ``node HOST FOLDER``; it says how at its beginning."""
INSTALL: Final = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")
WHAT: Final = "MicroPython for Node.js"


def node(install: bool = False) -> str:
    """The path of Node.js, with MicroPython beside host.mjs.

    Args:
        install: have npm install MicroPython where it is not. It is asked once.

    Raises:
        Missing: there is no Node.js, or no MicroPython for it.
    """
    found = shutil.which("node")
    if found is None:
        raise Missing("Node.js", "install it so that node is on PATH")
    problem = _package(install)
    if problem is not None:
        raise problem
    return found


@cache
def _package(install: bool) -> Missing | None:
    """What is wrong with the package of MicroPython, if something is."""
    package = HERE / "package.json"
    ((name, version),) = json.loads(package.read_text())["dependencies"].items()
    # Other processes look, too, and one is to install it.
    with package.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = HERE / "node_modules" / name / "package.json"
        if there.is_file() and json.loads(there.read_text())["version"] == version:
            return None
        if install:
            return _installed(name)
        return Missing(WHAT, f"npm {' '.join(INSTALL)}, in {HERE}")


def _installed(name: str) -> Missing | None:
    """What keeps npm from installing it, if something does."""
    npm = shutil.which("npm")
    if npm is None:
        return Missing(WHAT, f"put npm on PATH, which installs {name}")
    try:
        done = subprocess.run(
            [npm, *INSTALL], cwd=HERE, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return Missing(WHAT, f"npm did not install {name} within 120 s")
    if done.returncode:
        return Missing(WHAT, f"npm cannot install {name}: {done.stderr.strip()[-300:]}")
    return None
