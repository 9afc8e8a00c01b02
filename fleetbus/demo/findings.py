"""What the results say about the folder, put together from the answers of all agents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bus.wire.result import Result
from fleetbus.demo.source import SourceFacts
from fleetbus.demo.work import QUERIES, Document, Job

SHOWN: Final = 8
"""Terms and packages named in one line."""
PROSE: Final = frozenset((".md", ".rst", ".txt"))
"""Endings of files that are written to be read from the beginning."""
SENTENCE: Final = 240
"""Characters of a sentence that are shown."""
_SENTENCE: Final = re.compile(r"[A-Z][^`<>|]{20,}[.!?]")
"""What reads like one; a line of code or of a table does not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found out."""

    title: str
    text: str


class Findings:
    """Collects results. A file's later answer replaces its earlier one."""

    def __init__(self) -> None:
        self._terms: dict[Document, dict[str, int]] = {}
        self._hits: dict[tuple[str, Document], int] = {}
        self._summaries: dict[Document, str] = {}
        self._hashes: dict[Document, str] = {}
        self._facts: dict[Document, SourceFacts] = {}

    def take(self, job: Job, result: Result) -> None:
        """A task was completed.

        Raises:
            DecodeError: the output is not what the capability promises.
        """
        one = job.document
        match job.capability:
            case "words":
                self._terms[one] = result.value(dict[str, Any])["terms"]
            case "search":
                self._hits[job.query, one] = len(result.value(list[Any]))
            case "summarize":
                self._summaries[one] = result.value(str)
            case "hash":
                self._hashes[one] = result.value(dict[str, Any])["sha256"]
            case "python":
                self._facts[one] = result.value(SourceFacts)

    def all(self) -> list[Finding]:
        """What there is to say, the most useful first; nothing is said about nothing."""
        makers: tuple[Callable[[], Finding | None], ...] = (
            self._top_terms,
            self._most_functions,
            self._most_imported,
            self._summary,
            self._marks,
            self._twins,
        )
        return [found for make in makers if (found := make()) is not None]

    # the inside

    def _top_terms(self) -> Finding | None:
        total: Counter[str] = Counter()
        for terms in self._terms.values():
            total.update(terms)
        shown = ", ".join(f"{term} {count}" for term, count in total.most_common(SHOWN))
        return Finding("Top terms", shown) if shown else None

    def _most_functions(self) -> Finding | None:
        if not self._facts:
            return None
        one, facts = max(self._facts.items(), key=lambda pair: pair[1].functions)
        total = sum(facts.functions for facts in self._facts.values())
        where, longest = max(self._facts.items(), key=lambda pair: pair[1].longest_lines)
        return Finding(
            "Most functions",
            f"{one.name} with {facts.functions} of {total} in {len(self._facts)} files; the "
            f"longest is {longest.longest} in {where.name} with {longest.longest_lines} lines",
        )

    def _most_imported(self) -> Finding | None:
        total = Counter(name for facts in self._facts.values() for name in facts.imports)
        shown = ", ".join(f"{name} {count}" for name, count in total.most_common(SHOWN))
        return Finding("Most imported", shown) if shown else None

    def _summary(self) -> Finding | None:
        prose = {one: text for one, text in self._summaries.items() if _SENTENCE.fullmatch(text)}
        if not prose:
            return None
        one = max(prose, key=_introduces)
        text = " ".join(prose[one].split())
        shown = text if len(text) <= SENTENCE else f"{text[: SENTENCE - 1]}…"
        return Finding(f"{one.name} in one sentence", shown)

    def _marks(self) -> Finding | None:
        shown: list[str] = []
        for query in QUERIES:
            hits = {one: count for (q, one), count in self._hits.items() if q == query and count}
            if hits:
                most = max(hits, key=lambda one: hits[one])
                shown.append(f"{query} {sum(hits.values())} (most in {most.name})")
        return Finding("Lines that mention", ", ".join(shown)) if shown else None

    def _twins(self) -> Finding | None:
        groups: dict[str, list[Document]] = {}
        for one, digest in self._hashes.items():
            if one.size:
                groups.setdefault(digest, []).append(one)
        largest = max(
            groups.values(), key=lambda group: (len(group) > 1) * group[0].size, default=[]
        )
        if len(largest) < 2:
            return None
        names = " and ".join(one.name for one in largest[:2])
        return Finding("The same content twice", f"{names}, the largest of such files")


def _introduces(one: Document) -> tuple[bool, bool, int]:
    """Larger for a file that is more likely to say what all is about: the README that is least
    deep, else the longest prose, else the longest file."""
    readme = one.path.stem.lower() == "readme"
    return readme, one.path.suffix in PROSE, -one.name.count("/") if readme else one.size
