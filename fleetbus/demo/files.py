"""Which files to work on, and what a file's bytes say."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from pathlib import Path
from typing import Any, Final

from bus.errors import FleetError
from fleetbus.children import ROOT

TEXT: Final = frozenset(
    f".{ending}"
    for ending in (
        *("c", "cfg", "conf", "css", "csv", "go", "h", "html", "ini", "java", "js", "json"),
        *("md", "py", "pyi", "rs", "rst", "sh", "toml", "ts", "txt", "xml", "yaml", "yml"),
    )
)
"""Endings of files that are read."""

SKIPPED: Final = frozenset(("__pycache__", "node_modules", "site-packages", "test", "tests"))
"""Folders that are left out, beside those whose name begins with a dot."""

MAX_SIZE: Final = 256 * 1024
"""Bytes; larger files are data, not text."""

MAX_FILES: Final = 100_000


def corpus(directory: Path | None = None) -> list[Path]:
    """The text files of a folder, sorted; None is what ships with Python and this project.

    Binary, empty and large files are left out, and links are not followed.

    Raises:
        FleetError: ``directory`` is not a folder that can be read.
    """
    if directory is None:
        roots = [Path(sysconfig.get_path("stdlib")), ROOT]
    else:
        if not directory.is_dir():
            raise FleetError(f"{directory} is not a folder")
        if not os.access(directory, os.R_OK | os.X_OK):
            raise FleetError(f"{directory} cannot be read: permission denied")
        roots = [directory]
    found = [path for root in roots for path in _walk(root, everything=directory is not None)]
    return sorted(found)[:MAX_FILES]


def _walk(root: Path, everything: bool) -> list[Path]:
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".")
            and (name not in SKIPPED or (everything and name in ("test", "tests")))
        )
        for name in files:
            path = Path(folder, name)
            if path.suffix.lower() in TEXT and _is_text(path):
                found.append(path)
    return found


def _is_text(path: Path) -> bool:
    try:
        if path.is_symlink() or not 0 < path.stat().st_size <= MAX_SIZE:
            return False
        with path.open("rb") as file:
            return b"\0" not in file.read(1024)
    except OSError:
        return False  # it has gone, or is not ours to read


def digest(data: bytes) -> dict[str, Any]:
    """SHA-256, size in bytes, and number of lines of a file's content."""
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "lines": data.count(b"\n") + (bool(data) and not data.endswith(b"\n")),
    }
