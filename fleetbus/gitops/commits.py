"""What we tell of a commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from dulwich import objects


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit."""

    id: str
    """All digits."""
    author: str
    """Name and address."""
    at_ms: int
    """When it was committed, Unix time in milliseconds."""
    summary: str
    """First line of its message."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a commit holds."""

    files: dict[str, str] = field(default_factory=dict)
    """Blob id by path."""
    odd: dict[str, str] = field(default_factory=dict)
    """Paths of what is no file, and what it is: ``symbolic link`` or ``submodule``."""


def described(commit: objects.Commit) -> Commit:
    """``commit`` in plain values, whatever its author wrote."""
    lines = _text(commit.message).strip().splitlines()
    return Commit(
        commit.id.decode(),
        _printable(_text(commit.author), 200),
        commit.commit_time * 1000,
        _printable(lines[0] if lines else "", 200),
    )


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _printable(text: str, limit: int) -> str:
    return "".join(one if one.isprintable() else " " for one in text)[:limit].strip()
