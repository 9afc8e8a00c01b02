"""The bundled capabilities on real text: the license and a module that ship with Python."""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import FleetError
from fleetbus.demo.files import MAX_SIZE, corpus, digest
from fleetbus.demo.text import STOP, search, sentences_of, summarize, word_stats, words_of

SOURCE = Path(argparse.__file__).read_text(encoding="utf-8")
PROSE = (
    "The keeper lights the lamp of the lighthouse every evening. He has never missed one. "
    "Ships that pass at night look for the lamp of the lighthouse.\n\n"
    "It rained. A lighthouse without a lamp is a danger to ships, e.g. small ones."
)


def test_words_of_prose() -> None:
    stats = word_stats(PROSE, top=2)
    assert stats["terms"] == {"lamp": 3, "lighthouse": 3}
    assert stats["words"] == 43  # "e.g." is two
    assert stats["sentences"] == 5
    assert stats["lines"] == 3
    assert stats["characters"] == len(PROSE)


def test_words_of_source() -> None:
    stats = word_stats(SOURCE, top=10)
    assert stats["lines"] == SOURCE.count("\n")
    assert "option_strings" in stats["terms"]
    assert not STOP & stats["terms"].keys()
    counts = list(stats["terms"].values())
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 10


@pytest.mark.parametrize(
    ("text", "words", "lines", "sentences"),
    [("", 0, 0, 0), ("\n", 0, 1, 0), ("one", 1, 1, 1), ("Zwölf Boxkämpfer.\nÀ la 3.", 4, 2, 2)],
)
def test_small_texts(text: str, words: int, lines: int, sentences: int) -> None:
    stats = word_stats(text)
    assert (stats["words"], stats["lines"], stats["sentences"]) == (words, lines, sentences)


def test_search_gives_the_lines() -> None:
    lines = SOURCE.splitlines()
    hits = search(SOURCE, "NAMESPACE")
    assert len(hits) == sum("namespace" in line.casefold() for line in lines)
    assert hits
    for hit in hits:
        assert lines[hit.line - 1].strip().startswith(hit.text)
    assert search(SOURCE, "namespace", limit=2) == hits[:2]
    assert search(SOURCE, "no such phrase") == []


def test_summary_keeps_the_order_and_prefers_what_the_text_is_about() -> None:
    summary = summarize(PROSE, 2)
    assert "lamp" in summary
    assert "It rained." not in summary
    picked = sentences_of(summary)
    assert len(picked) == 2
    everything = sentences_of(PROSE)
    assert [everything.index(one) for one in picked] == sorted(map(everything.index, picked))
    assert summarize("", 3) == ""


@given(text=st.text(max_size=300), count=st.integers(1, 5))
def test_no_text_breaks_anything(text: str, count: int) -> None:
    stats = word_stats(text)
    assert stats["words"] == len(words_of(text)) >= stats["distinct"]
    everything = sentences_of(text)
    assert len(sentences_of(summarize(text, count))) <= len(everything)
    assert all(0 < hit.line <= len(text.splitlines()) for hit in search(text, "a"))


@pytest.mark.parametrize(("data", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\n\0b", 2)])
def test_digest(data: bytes, lines: int) -> None:
    expected = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "lines": lines}
    assert digest(data) == expected


def test_the_usual_corpus_is_text_that_ships_with_python() -> None:
    found = corpus()
    assert Path(argparse.__file__).resolve() in {path.resolve() for path in found}
    assert found == sorted(set(found))
    assert all(0 < path.stat().st_size <= MAX_SIZE for path in found)
    assert not any(part in ("__pycache__", ".git", ".venv") for p in found for part in p.parts)


def test_a_corpus_leaves_out_what_is_not_text(tmp_path: Path) -> None:
    kept = tmp_path / "deep" / "kept.md"
    for path in (kept, tmp_path / ".git" / "a.txt", tmp_path / "__pycache__" / "b.py"):
        path.parent.mkdir()
        path.write_text("text\n", encoding="utf-8")
    (tmp_path / "binary.txt").write_bytes(b"a\0b")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "picture.png").write_bytes(b"text")
    (tmp_path / "large.txt").write_bytes(b"x" * (MAX_SIZE + 1))
    (tmp_path / "link.txt").symlink_to(kept)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.txt")
    assert corpus(tmp_path) == [kept]


def test_a_corpus_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="is not a folder"):
        corpus(tmp_path / "absent")
