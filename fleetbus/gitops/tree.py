"""The configuration of one fleet as one commit has it, with everything that is wrong in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bus.config import layers, paths, secrets
from bus.errors import InvalidSelector
from bus.selectors import Selector
from bus.wire.config import ConfigLayer
from fleetbus.gitops import documents, layout
from fleetbus.gitops.documents import Document, InvalidDocument
from fleetbus.gitops.errors import TooBig
from fleetbus.gitops.problems import Problem
from fleetbus.gitops.repository import Commit, Listing, Repository
from fleetbus.gitops.source import MAX_BYTES, kind, too_long

VALUES: Final = "values"
SELECTOR: Final = "selector"


@dataclass(slots=True)
class Tree:
    """What ``load`` found. Files that cannot be read are in ``problems`` only."""

    commit: Commit
    fleet: str
    layers: dict[str, ConfigLayer] = field(default_factory=dict)
    """By name, in the order in which they apply."""
    schema: dict[str, Any] | None = None
    schema_lines: dict[str, int] = field(default_factory=dict)
    golden: dict[str, Document] = field(default_factory=dict)
    """By path: what ``fleetbus.golden.cases`` reads."""
    problems: list[Problem] = field(default_factory=list)


def load(repository: Repository, commit: Commit, fleet: str) -> Tree:
    """Read what ``commit`` has for ``fleet``. Blocks. Collects what is wrong instead of stopping
    at the first; the values are not checked against the schema (``validation``).

    Raises:
        RepositoryError: the repository itself cannot be read.
    """
    listing = repository.listing(commit, layout.LOOKED_AT)
    found = layout.find(listing.files, listing.odd, fleet)
    tree = Tree(commit, fleet, problems=found.problems)
    changes = repository.last_changes(commit, list(found.layers.values()))
    for name, path in found.layers.items():
        document = _document(repository, listing, path, tree.problems)
        if document is not None:
            tree.problems.extend(_references(document))
            layer = _layer(name, document, changes[path], tree.problems)
            if layer is not None:
                tree.layers[name] = layer
    if found.schema:
        document = _document(repository, listing, layout.SCHEMA, tree.problems)
        if document is not None:
            tree.schema, tree.schema_lines = document.values, document.lines
    tree.golden = _golden(repository, listing, found.golden, tree.problems)
    return tree


def golden(repository: Repository, commit: Commit) -> tuple[dict[str, Document], list[Problem]]:
    """``Tree.golden`` alone, and what is wrong with these files. Blocks.

    Raises:
        RepositoryError: as for ``load``.
    """
    listing = repository.listing(commit, (layout.GOLDEN,))
    found = layout.find(listing.files, listing.odd, "")
    # What it says of the others is not asked for.
    problems = [one for one in found.problems if one.file.partition("/")[0] == layout.GOLDEN]
    return _golden(repository, listing, found.golden, problems), problems


def _golden(
    repository: Repository, listing: Listing, files: list[str], problems: list[Problem]
) -> dict[str, Document]:
    read = {path: _document(repository, listing, path, problems) for path in files}
    return {path: document for path, document in read.items() if document is not None}


def _document(
    repository: Repository, listing: Listing, path: str, problems: list[Problem]
) -> Document | None:
    parse = documents.parse_json if path == layout.SCHEMA else documents.parse
    try:
        return parse(repository.read(listing.files[path], MAX_BYTES, path), path)
    except TooBig as error:
        problems.append(Problem("error", path, too_long(error.size), 1, 1))
    except InvalidDocument as error:
        problems.append(Problem("error", path, error.problem, error.line, error.column))
    return None


def _layer(
    name: str, document: Document, last: Commit, problems: list[Problem]
) -> ConfigLayer | None:
    values, lines, selector = document.values, document.lines, ""
    if name.startswith(layers.GROUP):
        wrong = list(_group_problems(document))
        problems.extend(wrong)
        if wrong:
            return None
        selector = str(Selector.parse(values[SELECTOR]))
        values = values.get(VALUES) or {}
        prefix = f"{VALUES}."
        lines = {
            path.removeprefix(prefix): line
            for path, line in lines.items()
            if path.startswith(prefix)
        }
    return ConfigLayer(values, selector, document.file, lines, last.id, last.author, last.at_ms)


def _group_problems(document: Document) -> Iterator[Problem]:
    file, values, lines = document.file, document.values, document.lines
    for key in values:
        if key not in (SELECTOR, VALUES):
            path = paths.shown((key,))
            yield Problem(
                "error",
                file,
                "a group has selector: and values: at its top and nothing else; move it under "
                "values:",
                lines.get(path, 0),
                path=path,
            )
    selector = values.get(SELECTOR)
    if not isinstance(selector, str) or not selector.strip():
        given = f"{SELECTOR} is {kind(selector)}" if selector not in ("", None) else "no selector"
        yield Problem(
            "error",
            file,
            f"{given}: write for example 'selector: env=prod,gpu'; what is for all agents belongs "
            "in global.yaml or the fleet's file",
            lines.get(SELECTOR, 0),
            path=SELECTOR if SELECTOR in values else "",
        )
    else:
        try:
            Selector.parse(selector)
        except InvalidSelector as error:
            yield Problem("error", file, str(error), lines.get(SELECTOR, 0), path=SELECTOR)
    if not isinstance(values.get(VALUES), (dict, type(None))):
        yield Problem(
            "error",
            file,
            f"{VALUES} is {kind(values[VALUES])}, and it must be a mapping",
            lines.get(VALUES, 0),
            path=VALUES,
        )


def _references(document: Document) -> Iterator[Problem]:
    for path, value in _strings(document.values, ()):
        if secrets.is_reference(value) and secrets.parse(value) is None:
            shown = paths.shown(path)
            yield Problem(
                "error",
                document.file,
                f"{value[:80]!r} is no reference to a secret: write secret://env/NAME or "
                "secret://file/PATH",
                document.lines.get(shown, 0),
                path=shown,
            )


def _strings(value: Any, path: paths.Path) -> Iterator[tuple[paths.Path, str]]:
    """All texts; those in lists by the path of the list."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _strings(one, (*path, name))
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one, path)
