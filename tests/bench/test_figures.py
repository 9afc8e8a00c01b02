"""Figures, targets and the result file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.harness.errors import BadResultFile
from bench.harness.figures import FORMAT, Failure, Run, at_least, at_most, load, save
from tests.support.bench import figure, run


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (at_least(0.85), 0.85, True),
        (at_least(0.85), 0.84, False),
        (at_most(2.1), 2.1, True),
        (at_most(2.1), 2.2, False),
    ],
)
def test_target(target: object, value: float, met: bool) -> None:
    made = figure(values=(value,), target=target)
    assert made.met is met
    assert bool(run(made).missed()) is not met


def test_target_says_what_it_is() -> None:
    assert str(at_least(0.85)) == "≥ 0.85"
    assert str(at_most(10_000)) == "≤ 10,000"


def test_the_median_is_what_is_held() -> None:
    assert figure(values=(0.1, 0.9, 0.95), target=at_least(0.85)).met
    assert figure(values=(0.1, 0.9), target=at_least(0.85)).met is False
    assert figure().met is None


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    made = run(
        figure(params={"outstanding": 512, "storage": "file", "load": 0.8}, target=at_least(1)),
        failures=(Failure("call", "it broke", "Traceback …"),),
    )
    file = tmp_path / "a" / "b" / "result.json"
    save(made, file)
    assert load(file) == made


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is not a result file"),
        (b"\xff\xfe", "is not a result file"),
        (b"[]", "is not a result file"),
        (b'{"format": 99}', f"has format 99, this version reads {FORMAT}"),
        (b'{"format": 1}', "is not a result file.*started"),
    ],
)
def test_a_file_that_is_none_is_refused(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "result.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadResultFile, match=problem) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadResultFile, match="cannot be read"):
        load(tmp_path)


def test_describe() -> None:
    made = figure(metric="tasks/s", side="ours / lean floor", params={"outstanding": 512})
    assert made.describe() == "tasks/s, ours / lean floor, outstanding 512"
    assert isinstance(run(made), Run)
