"""Where golden cases come from: a Git repository, or a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetbus.gitops import tree
from fleetbus.gitops.documents import Document, InvalidDocument, parse
from fleetbus.gitops.layout import GOLDEN
from fleetbus.gitops.problems import Problem
from fleetbus.gitops.repository import Repository
from fleetbus.golden import cases as reading
from fleetbus.golden.cases import Case, InvalidCases

FETCH: Final = 60.0
"""Seconds for a remote repository to be fetched."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to look. A repository if one is named, else a folder, else ``golden``."""

    repo: str | None = None
    ref: str = "main"
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """Cases, and where they are from."""

    cases: tuple[Case, ...]
    source: str
    commit: str = ""


def load(origin: Origin, names: Iterable[str] = (), capability: str | None = None) -> Loaded:
    """The cases of ``origin`` that are asked for: all if none is named. It reads files.

    Raises:
        InvalidCases: with all problems of all files; or there is no such case.
        RepositoryError: the repository cannot be reached or read, or has no such ref.
    """
    if origin.repo is not None:
        source, commit, documents, problems = _repository(origin.repo, origin.ref)
    else:
        folder = origin.directory or Path(GOLDEN)
        source, commit = str(folder), ""
        documents, problems = _folder(folder)
    found, wrong = reading.read(documents)
    said = [f"{one.place}: {one.message}" for one in (*problems, *wrong)]
    if not said and not found:
        said.append(f"{source} has no golden case: write one in {GOLDEN}/NAME.yaml (see --help)")
    if said:
        raise InvalidCases(said)
    return Loaded(tuple(reading.chosen(found, names, capability)), source, commit)


def _folder(folder: Path) -> tuple[list[Document], list[Problem]]:
    documents: list[Document] = []
    problems: list[Problem] = []
    for file, data in _files(folder):
        if file.endswith(".yml"):
            what = f"files end in .yaml here: rename it to {file.removesuffix('.yml')}.yaml"
            problems.append(Problem("error", file, what))
            continue
        try:
            documents.append(parse(data, file))
        except InvalidDocument as wrong:
            problems.append(Problem("error", file, wrong.problem, wrong.line, wrong.column))
    return documents, problems


def _files(folder: Path) -> list[tuple[str, bytes]]:
    try:
        return [
            (str(path), path.read_bytes())
            for path in sorted(folder.iterdir())
            if path.suffix in (".yaml", ".yml") and path.is_file()
        ]
    except OSError as problem:
        what = problem.strerror or str(problem)
        raise InvalidCases(
            [f"{problem.filename or folder}: {what}: name the folder with --dir, or --repo"]
        ) from None


def _repository(repo: str, ref: str) -> tuple[str, str, list[Document], list[Problem]]:
    with Repository.open(repo) as opened:
        opened.fetch(FETCH)
        commit = opened.resolve(ref)
        documents, problems = tree.golden(opened, commit)
        wrong = [one for one in problems if one.severity == "error"]
        return f"{opened.location} at {ref}", commit.id, list(documents.values()), wrong
