"""Something wrong in a commit's files, with its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. An error keeps the commit from being applied."""

    severity: Severity
    file: str
    message: str
    line: int = 0
    """Counted from 1; 0 if it is about the whole file."""
    column: int = 0
    path: str = ""
    """Dotted path of the value; empty if it is about no value."""

    @property
    def place(self) -> str:
        """``file:line:column``, as far as they are known."""
        if not self.line:
            return self.file
        return (
            f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        )

    def __str__(self) -> str:
        about = f" {self.path}:" if self.path else ""
        text = f"{self.place}: {self.severity}:{about} {self.message}"
        # Names of files may be anything.
        return "".join(one if one.isprintable() else "?" for one in text)
