"""Where golden cases come from: a Git repository, or a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from fleetbus.gitops.documents import Document, InvalidDocument, parse
from fleetbus.gitops.repository import Repository
from fleetbus.gitops.source import MAX_BYTES
from fleetbus.golden import cases as reading
from fleetbus.golden.cases import Case, InvalidCases

FOLDER: Final = "golden"

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
        source, commit, files = _repository(origin.repo, origin.ref)
    else:
        folder = origin.directory or Path(FOLDER)
        source, commit, files = str(folder), "", _folder(folder)
    found = _read(files, source)
    return Loaded(tuple(reading.chosen(found, names, capability)), source, commit)


def _read(files: Iterable[tuple[str, bytes]], source: str) -> list[Case]:
    documents: list[Document] = []
    problems: list[str] = []
    for file, data in files:
        if file.endswith(".yml"):
            problems.append(f"{file}: case files are called *.yaml: rename it")
            continue
        try:
            documents.append(parse(data, file))
        except InvalidDocument as problem:
            problems.append(str(problem))
    found, wrong = reading.read(documents)
    problems += wrong
    if not problems and not found:
        problems.append(
            f"{source} has no golden case: write one in {FOLDER}/NAME.yaml (see --help)"
        )
    if problems:
        raise InvalidCases(problems)
    return found


def _folder(folder: Path) -> list[tuple[str, bytes]]:
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


def _repository(repo: str, ref: str) -> tuple[str, str, list[tuple[str, bytes]]]:
    with Repository.open(repo) as opened:
        opened.fetch(FETCH)
        commit = opened.resolve(ref)
        found = sorted(opened.files(commit, (FOLDER,)).items())
        files = [(path, opened.read(blob, MAX_BYTES)) for path, blob in found if _wanted(path)]
        return f"{opened.location} at {ref}", commit.id, files


def _wanted(path: str) -> bool:
    parts = PurePosixPath(path)
    return str(parts.parent) == FOLDER and parts.suffix in (".yaml", ".yml")
