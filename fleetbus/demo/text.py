"""Statistics, search and summaries of text, in plain Python and the standard library."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import msgspec

WORDS_A_MINUTE: Final = 230
"""Silent reading speed of adults (Brysbaert, "How many words do we read per minute?", 2019)."""

LONGEST_SENTENCE: Final = 400
"""Characters: what is longer is a table or a licence, and says nothing in one breath."""

_WORD: Final = re.compile(r"[^\W\d_][\w'\u2019-]*")
# Before a digit or a letter that is no small Latin one: most scripts have no capitals.
_END: Final = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[^\W_a-zß-öø-ÿ])|\n\s*\n")

STOP: Final = frozenset(
    """
    a about above after again against all also an and any are aren't as at be because been
    before being below between both but by can cannot can't could couldn't did didn't do does
    doesn't doing don't down during each else few for from further had hadn't has hasn't have
    haven't having he her here hers herself him himself his how i if in into is isn't it it's its
    itself just let me more most must my myself no nor not of off on once one only or other our
    ours out over own same shall she should so some such than that that's the their theirs them
    themselves then there these they this those through to too under until up upon us use used
    using very was wasn't we were weren't what when where which while who whom why will with
    won't would you your yours yourself
    assert async await break class continue def del elif else except false finally from global
    import lambda none nonlocal not pass print raise return self true try while with yield
    """.split()  # noqa: SIM905  # a list of 170 quoted words is not easier to read
)
"""Words that say little, of English and of Python."""


class Hit(msgspec.Struct, frozen=True):
    """A line that was found."""

    line: int
    """Counted from 1."""
    text: str


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, numbers and punctuation left out."""
    return [word.lower() for word in _WORD.findall(text)]


def sentences_of(text: str) -> list[str]:
    """The sentences of a text, each on one line."""
    found = (" ".join(part.split()) for part in _END.split(text))
    return [part for part in found if part]


def word_stats(text: str, top: int = 20) -> dict[str, Any]:
    """Counts of words, lines and sentences, and the ``top`` most frequent terms.

    Terms are words of three letters or more that are not stop words. ``minutes`` is how long
    it takes to read.
    """
    words = words_of(text)
    terms = Counter(word for word in words if len(word) > 2 and word not in STOP)
    return {
        "characters": len(text),
        "words": len(words),
        "distinct": len(set(words)),
        "lines": text.count("\n") + (not text.endswith("\n") and bool(text)),
        "sentences": len(sentences_of(text)),
        "minutes": round(len(words) / WORDS_A_MINUTE, 1),
        "terms": dict(terms.most_common(top)),
    }


def search(text: str, query: str, limit: int = 1000) -> list[Hit]:
    """The lines that contain ``query``, upper and lower case alike; ``limit`` of them at most."""
    wanted = query.casefold()
    hits: list[Hit] = []
    for number, line in enumerate(text.splitlines(), 1):
        if wanted in line.casefold():
            hits.append(Hit(number, line.strip()[:300]))
            if len(hits) == limit:
                break
    return hits


def summarize(text: str, sentences: int = 1) -> str:
    """The sentences that say most about the text, in the order in which they stand there.

    A sentence scores by how frequent its terms are in the whole, and a little by standing
    early. (Luhn, "The Automatic Creation of Literature Abstracts", 1958.)
    """
    parts = [part for part in sentences_of(text) if len(part) <= LONGEST_SENTENCE]
    tokens = [[w for w in words_of(part) if len(w) > 2 and w not in STOP] for part in parts]
    frequent = Counter(word for words in tokens for word in words)
    scored: list[tuple[float, int]] = []
    # A heading is not a sentence; where there is nothing else, it will have to do.
    least = 4 if any(len(words) >= 4 for words in tokens) else 1
    for index, words in enumerate(tokens):
        if len(words) < least:
            continue
        weight = sum(frequent[word] for word in words) / len(words)
        scored.append((weight * (1.0 + 0.5 / (1 + index)), index))
    best = sorted(index for _, index in sorted(scored, reverse=True)[:sentences])
    return " ".join(parts[index] for index in best)
