"""What can go wrong in a benchmark, told to its user."""

from __future__ import annotations

from pathlib import Path

from bus.errors import FleetError


class BenchError(FleetError):
    """A benchmark could not be run, or its results could not be used."""


class BadResultFile(BenchError):
    """A file that is not a result of ours."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path = path
        self.problem = problem


class ChildFailed(BenchError):
    """A process of a scenario ended, or said nothing in time."""

    def __init__(self, command: str, problem: str) -> None:
        super().__init__(f"'{command}' {problem}")
        self.command = command
        self.problem = problem


class Missing(BenchError):
    """Something that must be installed is not; the message says how to get it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} is missing: {remedy}")
        self.what = what
        self.remedy = remedy
