"""The demo's work: a folder of text, and the stream of tasks that goes over it."""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bus.errors import FleetError
from fleetbus.children import ROOT
from fleetbus.demo.files import corpus

USUAL: Final = 15_000
"""Tasks at most unless it is said how many: some twenty seconds on two cores."""
QUERIES: Final = ("TODO", "deprecated", "security", "thread", "timeout", "http://")
"""What each file is searched for."""
TOP: Final = 50
"""Terms asked for of each file: those of all files are added up."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file of text."""

    name: str
    """Its path within the folder."""
    path: Path
    size: int
    """Bytes."""

    @property
    def is_source(self) -> bool:
        """Whether it is Python."""
        return self.path.suffix == ".py"


@dataclass(frozen=True, slots=True)
class Library:
    """The text to work on."""

    where: str
    files: tuple[Document, ...]

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.files)

    @classmethod
    def read(cls, directory: Path | None) -> Library:
        """List a folder's text; None is what ships with Python and this project.

        Raises:
            FleetError: there is none.
        """
        roots = [directory] if directory else [Path(sysconfig.get_path("stdlib")).parent, ROOT]
        found: list[Document] = []
        for path in corpus(directory):
            try:
                size = path.stat().st_size
            except OSError:
                continue  # it has gone since
            found.append(Document(_name(path, roots), path, size))
        if not found:
            raise FleetError(f"{directory} holds no text: name another folder with --dir")
        return cls(str(directory or "what ships with Python and fleetbus"), tuple(found))


@dataclass(frozen=True, slots=True)
class Job:
    """One task to submit."""

    capability: str
    document: Document
    query: str
    """What a search is for, else empty."""
    value: Any


def planned(library: Library, tasks: int | None) -> int:
    """How many tasks there will be: as many as asked for, else each once up to ``USUAL``."""
    return tasks if tasks is not None else min(USUAL, len(_round(library)))


def jobs(library: Library, total: int, seed: int = 0) -> Iterator[Job]:
    """``total`` tasks in an order that looks like real traffic; the files are gone over again
    when all is done. A file is read when its task is submitted: one that has gone meanwhile is
    left out, and another task takes its place.

    Raises:
        FleetError: all files have gone.
    """
    made = 0
    rng = random.Random(seed)
    while made < total:
        before = made
        plan = _round(library)
        rng.shuffle(plan)
        for capability, document, query in plan:
            if made == total:
                return
            try:
                value = _value(capability, document, query)
            except OSError:
                continue
            made += 1
            yield Job(capability, document, query, value)
        if made == before:
            raise FleetError(f"the files of {library.where} are gone")


def _name(path: Path, roots: Sequence[Path]) -> str:
    """A path as it is called within the first of ``roots`` that holds it."""
    root = next((one for one in roots if path.is_relative_to(one)), None)
    return str(path.relative_to(root)) if root is not None else str(path)


def _round(library: Library) -> list[tuple[str, Document, str]]:
    """Capability, file and query of all that can be asked about each file once."""
    plan: list[tuple[str, Document, str]] = []
    for one in library.files:
        plan += [(capability, one, "") for capability in ("words", "summarize", "hash")]
        plan += [("search", one, query) for query in QUERIES]
        if one.is_source:
            plan.append(("python", one, ""))
    return plan


def _value(capability: str, document: Document, query: str) -> Any:
    data = document.path.read_bytes()
    if capability == "hash":
        return data
    text = data.decode("utf-8", "replace")
    match capability:
        case "words":
            return {"text": text, "top": TOP}
        case "search":
            return {"text": text, "query": query}
        case _:
            return {"text": text}
