"""What a peer is: how it is set up, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass

from bench.peers.server import Kind


@dataclass(frozen=True, slots=True)
class Promise:
    """Whether something is so, and on what it depends."""

    kept: bool
    because: str = ""

    def __str__(self) -> str:
        return f"{'yes' if self.kept else 'no'}{f' ({self.because})' if self.because else ''}"


def yes(because: str = "") -> Promise:
    """It is so."""
    return Promise(True, because)


def no(because: str = "") -> Promise:
    """It is not."""
    return Promise(False, because)


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What becomes of a task that was submitted."""

    persisted: Promise
    """It is in a file before submit returns."""
    survives: Promise
    """It is given out again when the worker that has it dies."""
    stored: Promise
    """Its result can be fetched later, by another process too."""

    @property
    def durable(self) -> bool:
        """All three, as ours are."""
        return self.persisted.kept and self.survives.kept and self.stored.kept


@dataclass(frozen=True, slots=True)
class Peer:
    """One side of the comparison."""

    name: str
    """The side's name in figures."""
    environment: str
    """Of :mod:`bench.peers.environment`; empty: this one."""
    script: str
    """The module of its worker and its driver; empty for ours."""
    server: Kind
    guarantees: Guarantees
    settings: str
    """What was set, beside what the defaults are; a note."""
    limits: str
    """What a reader of its figures must know; a note."""
    pool: bool = False
    """Its worker is one process with a pool of them."""
    polls: bool = False
    """Its workers poll so often that they are stopped while others are measured."""
    late: bool = False
    typed: bool = False

    def note(self, versions: str) -> str:
        """How it was run, with which versions, for the report."""
        return f"{self.name} ({versions}) – settings: {self.settings} Limits: {self.limits}"
