"""What a person types, as values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from fleetbus.task.inputs import moment, pairs_of, span, value_of


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=text", "text"),
        ("a=5", 5),
        ("a=5.5", 5.5),
        ("a=true", True),
        ("a=null", None),
        ("a=NaN", "NaN"),
        ("a=007", "007"),
        ("a=", ""),
        ('a="5"', "5"),
        ("a=[1,2]", [1, 2]),
        ("a=x=y", "x=y"),
        ("a=x:=y", "x:=y"),
        ('a:={"b":1}', {"b": 1}),
        ("a=two\nlines", "two\nlines"),
    ],
)
def test_a_value_is_json_where_it_can_be(pair: str, value: Any) -> None:
    assert pairs_of([pair]) == {"a": value}


def test_files(tmp_path: Path) -> None:
    text = tmp_path / "x.txt"
    text.write_text("5")
    assert pairs_of([f"a=@{text}", f"b:=@{text}"]) == {"a": "5", "b": 5}
    assert value_of([], whole=f"@{text}") == 5
    assert value_of([], raw=str(text)) == b"5"


def test_nothing_is_none() -> None:
    assert value_of([]) is None
    assert value_of([], whole="[1]") == [1]


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        (["text"], "'text' is not name=value"),
        (["=5"], "'=5' is not name=value"),
        (["5=5"], "'5=5' is not name=value"),
        (["a=1", "a=2"], "'a' is given twice"),
        (["a:=x"], "a:=x: not JSON"),
        (["a=@/no/such/file"], "/no/such/file: No such file"),
    ],
)
def test_what_cannot_be_used_is_named(pairs: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        pairs_of(pairs)


def test_only_one_way_to_give_the_input() -> None:
    for more in ({"whole": "1"}, {"raw": "x"}):
        with pytest.raises(ValueError, match="not several of them"):
            value_of(["a=1"], **more)


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("1.5", 1.5), (".5", 0.5), ("90s", 90), ("1h30m", 5400)]
)
def test_span(text: str, value: float) -> None:
    assert span(text) == value


@pytest.mark.parametrize("text", ["", "x", "-5", "0", "0s", "nan", "inf", "1e3"])
def test_span_refuses(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        span(text)


def test_moment() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert moment("+10m", now) == now + timedelta(minutes=10)
    assert moment("2026-12-24T08:00+01:00") == datetime(2026, 12, 24, 7, tzinfo=UTC)
    assert moment("2026-12-24T08:00") == datetime(2026, 12, 24, 8).astimezone()


@pytest.mark.parametrize("text", ["", "+", "+x", "tomorrow", "2026-13-01", "+99999999999d"])
def test_moment_refuses(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="neither a time"):
        moment(text)
