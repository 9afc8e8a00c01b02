"""Regular expressions are searched in another process, which may not hang us."""

from __future__ import annotations

import time

import pytest

from fleetbus.golden.regex import MAX_TEXT, Searcher

ENDLESS = "(a+)+$"


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        (r"\Aabc\Z", "abc", True),
        ("(?i)GRÜN", "grün", True),
        ("a.b", "a\nb", False),
        ("^$", "", True),
        ("\\n", "line\nline", True),
    ],
)
async def test_search(pattern: str, text: str, found: bool) -> None:
    async with Searcher() as searcher:
        assert await searcher.search(pattern, text) == ("found" if found else "not found")


async def test_one_that_takes_for_ever_is_ended_and_not_tried_again() -> None:
    async with Searcher(patience=1.0) as searcher:
        begun = time.monotonic()
        assert await searcher.search(ENDLESS, "a" * 60 + "b") == "too slow"
        assert time.monotonic() - begun < 10
        begun = time.monotonic()
        assert await searcher.search(ENDLESS, "a") == "too slow"
        assert time.monotonic() - begun < 0.9
        assert await searcher.search("a+$", "aaa") == "found"


async def test_a_long_text_is_not_searched() -> None:
    async with Searcher() as searcher:
        assert await searcher.search("a", "a" * MAX_TEXT) == "found"
        assert await searcher.search("a", "a" * (MAX_TEXT + 1)) == "too long"
