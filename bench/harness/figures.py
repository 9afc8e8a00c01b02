"""What a run leaves behind: figures, latencies and facts, and the file that holds them."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from bench.harness.errors import BadResultFile

FORMAT: Final = 1
"""Of the result file. Another one is refused rather than misread."""

Params = dict[str, str | int | float]
Better = Literal["higher", "lower", ""]
"""Which way is better; empty for a figure that is neither, such as a count of rounds."""


class Target(msgspec.Struct, frozen=True):
    """What the median of a figure is to reach."""

    at: Literal["least", "most"]
    bound: float

    def met(self, value: float) -> bool:
        """True if ``value`` is on the good side of the bound, or on it."""
        return value >= self.bound if self.at == "least" else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at == 'least' else '≤'} {self.bound:,g}"


def at_least(bound: float) -> Target:
    """The median must reach ``bound``."""
    return Target("least", bound)


def at_most(bound: float) -> Target:
    """The median must stay within ``bound``."""
    return Target("most", bound)


class Figure(msgspec.Struct, frozen=True):
    """One number of one scenario, over several rounds.

    Scenario, metric, side and params together are its name: no two figures share it.
    """

    scenario: str
    metric: str
    """What was measured: ``tasks/s``, ``p99``, ``lost``."""
    side: str
    """Whose it is: ``ours``, ``lean floor``; for a ratio ``ours / lean floor``."""
    params: Params
    """Under what circumstances: ``{"outstanding": 512, "storage": "file"}``."""
    unit: str
    better: Better
    values: Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]
    """One a round, in the order of the rounds."""
    target: Target | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Its name, hashable."""
        return self.scenario, self.metric, self.side, tuple(sorted(self.params.items()))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None without one."""
        return None if self.target is None else self.target.met(self.median)

    def describe(self) -> str:
        """``tasks/s, ours, outstanding 512``."""
        circumstances = [f"{name} {value}" for name, value in self.params.items()]
        return ", ".join(part for part in (self.metric, self.side, *circumstances) if part)


class Latency(msgspec.Struct, frozen=True):
    """The latencies of all rounds of one side under one circumstance."""

    scenario: str
    side: str
    params: Params
    histogram: str
    """An HDR histogram of microseconds, in HdrHistogram's own base64 encoding (V2)."""
    open_loop: bool
    """True: from the intended start, so a stall counts for everyone who would have come
    meanwhile. False: from the real start; the next request waited for the last one."""


class Fact(msgspec.Struct, frozen=True):
    """A circumstance of the whole run, such as the processor's name."""

    name: str
    value: str


class Note(msgspec.Struct, frozen=True):
    """What a reader must know beside the figures of a scenario."""

    scenario: str
    text: str
    skipped: str = ""
    """What was left out, if something was."""


class Grid(msgspec.Struct, frozen=True):
    """A table of words, such as who guarantees what."""

    scenario: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Failure(msgspec.Struct, frozen=True):
    """A scenario that could not be finished. It has no figures."""

    scenario: str
    problem: str
    """One line."""
    trace: str
    """Where it came from, for whoever mends it."""


class Run(msgspec.Struct, frozen=True):
    """One result file."""

    format: int
    started: str
    """ISO 8601, UTC."""
    seconds: float
    scenarios: tuple[str, ...]
    rounds: int
    quick: bool
    """A smoke test: its figures mean nothing."""
    facts: tuple[Fact, ...]
    figures: tuple[Figure, ...]
    latencies: tuple[Latency, ...] = ()
    notes: tuple[Note, ...] = ()
    grids: tuple[Grid, ...] = ()
    failures: tuple[Failure, ...] = ()

    def missed(self) -> list[Figure]:
        """Figures that fall short of their target; none of a quick run, which shows nothing."""
        return [] if self.quick else [figure for figure in self.figures if figure.met is False]


def save(run: Run, path: Path) -> None:
    """Write a result file; its folder is made if need be.

    Raises:
        BadResultFile: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")
    except OSError as error:
        raise BadResultFile(path, f"cannot be written: {error.strerror}") from error


def load(path: Path) -> Run:
    """Read a result file.

    Raises:
        BadResultFile: there is none, or it is not one of ours; the message says what is wrong.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadResultFile(path, f"cannot be read: {error.strerror}") from error
    try:
        head = msgspec.json.decode(raw, type=_Head)
        if head.format != FORMAT:
            raise BadResultFile(path, f"has format {head.format}, this version reads {FORMAT}")
        return msgspec.json.decode(raw, type=Run)
    except msgspec.DecodeError as error:
        raise BadResultFile(path, f"is not a result file of 'fleetbus bench': {error}") from error


class _Head(msgspec.Struct):
    format: int
