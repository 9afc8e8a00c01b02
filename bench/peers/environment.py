"""Each peer's own Python environment, under ``.bench-peers`` of the checkout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness.errors import Missing

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout; peers' scripts find ``bench`` there."""
PLACE: Final = ROOT / ".bench-peers"
REQUIREMENTS: Final = Path(__file__).parent / "requirements"
STAMP: Final = "installed.txt"
"""What was installed, in words of the requirements file; written when all of it is there."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with one peer in it."""

    name: str
    place: Path = PLACE

    @property
    def directory(self) -> Path:
        return self.place / self.name

    @property
    def requirements(self) -> Path:
        """What it is to hold, in pip's format."""
        return REQUIREMENTS / f"{self.name}.txt"

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.directory / ("Scripts" if os.name == "nt" else "bin")

    def installed(self) -> bool:
        """True if it holds what the requirements say today."""
        stamp = self.directory / STAMP
        return stamp.is_file() and stamp.read_text() == self.requirements.read_text()

    def python(self) -> str:
        """Its interpreter.

        Raises:
            Missing: it is not installed, or its requirements have changed since.
        """
        if not self.installed():
            raise Missing(f"the environment of {self.name}", self.remedy)
        return str(self.bin / "python")

    @property
    def remedy(self) -> str:
        """What installs it."""
        return f"make bench-peers (or: python -m bench.peers.install {self.name})"


def known() -> list[str]:
    """The names of all environments."""
    return sorted(file.stem for file in REQUIREMENTS.glob("*.txt"))
