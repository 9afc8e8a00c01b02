"""What a run says while it runs. Whoever shows it decides how."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where the run stands."""

    def scenario(self, name: str, number: int, total: int) -> None:
        """Scenario ``number`` of ``total`` (from 1) begins."""

    def step(self, text: str, left: float) -> None:
        """What runs now, and about how many seconds the whole run still takes."""


class NullProgress:
    """Says nothing."""

    def scenario(self, name: str, number: int, total: int) -> None:
        """Nothing."""

    def step(self, text: str, left: float) -> None:
        """Nothing."""
