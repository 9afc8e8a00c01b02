"""Where a bundle is put: as a whole or not at all, and never over what is something else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from fleetbus.edge.problem import BundleError
from fleetbus.edge.pyz import is_archive
from fleetbus.edge.starting import MARK


class Place:
    """A folder or file that is to be made.

    Raises:
        BundleError: something is there, and it may not be replaced.
    """

    def __init__(self, path: Path, force: bool) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise BundleError(f"{path}: there is no folder {path.parent}: make it first")
        if not os.path.lexists(path):
            return
        if not force:
            raise BundleError(f"{path} is there already: give --force to replace it, or -o")
        if not _ours(path):
            raise BundleError(f"{path} is no bundle, so --force does not remove it: choose another")

    def put_folder(self, files: Mapping[str, bytes], private: Collection[str]) -> None:
        """Make the folder; ``private`` files are for their owner only.

        Raises:
            BundleError: it cannot be written.
        """
        parent = self.path.parent
        try:
            with tempfile.TemporaryDirectory(dir=parent, prefix=f".{self.path.name}.") as scratch:
                fresh = Path(scratch) / "new"
                fresh.mkdir()
                for name, data in files.items():
                    file = fresh / name
                    file.parent.mkdir(exist_ok=True)
                    file.touch(0o600 if name in private else 0o666)
                    file.write_bytes(data)
                if self.path.exists():
                    self.path.rename(Path(scratch) / "old")
                fresh.rename(self.path)
        except OSError as problem:
            raise BundleError(f"{self.path}: it cannot be written: {problem}") from None

    def put_file(self, data: bytes) -> None:
        """Make the file, which can be run.

        Raises:
            BundleError: it cannot be written.
        """
        fresh = self.path.with_name(f".{self.path.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            # It may hold secrets.
            fresh.touch(0o700)
            fresh.write_bytes(data)
            fresh.rename(self.path)
        except OSError as problem:
            fresh.unlink(missing_ok=True)
            raise BundleError(f"{self.path}: it cannot be written: {problem}") from None


def _ours(path: Path) -> bool:
    """Whether a bundle is there, of the one kind or the other."""
    if path.is_symlink():
        return False
    try:
        if path.is_dir():
            return (path / "manifest.py").read_text("utf-8").startswith(MARK)
        return is_archive(path.read_bytes())
    except (OSError, UnicodeError):
        return False
