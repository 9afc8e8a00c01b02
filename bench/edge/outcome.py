"""What became of tasks and readings, judged from what the broker has. Nothing here does I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.edge.load import Submitted
from edge.clock import SLOWEST

DATED: Final = SLOWEST // 2 + 1000
"""Milliseconds by which the time of a reading may be wrong: half of the slowest answer by which a
device sets its clock, and what a busy machine adds."""
EARLY: Final = 2.0
"""Seconds before its deadline at which a task may be called expired."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A result that the broker has."""

    task: str
    state: str
    at: float
    """Unix seconds, by the broker's clock."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading that the broker has."""

    device: str
    number: int
    """From 1, in the order in which the device took them."""
    off_ms: int
    """How far its time is off."""
    told: bool = True
    """The broker had told the device the time since it was switched on."""


@dataclass
class Tasks:
    """What became of tasks."""

    submitted: int = 0
    states: dict[str, int] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    """Without a terminal result."""
    duplicates: int = 0
    """Results beyond the first of a task."""
    early: int = 0
    """Expired before their deadline."""
    slowest: float = 0.0
    """Seconds from submitting to the result, at worst."""


@dataclass
class Readings:
    """What became of readings."""

    taken: int = 0
    stored: int = 0
    missing: int = 0
    doubled: int = 0
    disordered: int = 0
    """That came after one that was taken later."""
    misdated: int = 0
    """With a wrong time although the device had been told it."""
    undated: int = 0
    """With a wrong time that the device could not know: its clock is wrong, and it had not reached
    the broker since it was switched on."""
    worst: dict[str, int] = field(default_factory=dict)
    """Missing ones of the devices that miss most."""


def tasks(submitted: Mapping[str, Submitted], results: Iterable[Stored]) -> Tasks:
    """Compare what was submitted with the results. Pure."""
    made = Tasks(submitted=len(submitted))
    states: Counter[str] = Counter()
    seen: set[str] = set()
    for one in results:
        task = submitted.get(one.task)
        if task is None:
            continue
        if one.task in seen:
            made.duplicates += 1
            continue
        seen.add(one.task)
        states[one.state] += 1
        made.slowest = max(made.slowest, one.at - task.at)
        if one.state == "expired" and one.at < task.deadline - EARLY:
            made.early += 1
    made.states = dict(states)
    made.unfinished = sorted(set(submitted) - seen)
    return made


def readings(taken: Mapping[str, int], stored: Iterable[Reading]) -> Readings:
    """Compare what devices took with what the broker has. Pure."""
    made = Readings(taken=sum(taken.values()))
    seen: dict[str, set[int]] = {device: set() for device in taken}
    last: dict[str, int] = {}
    for one in stored:
        if one.device not in seen:
            continue
        if one.number in seen[one.device]:
            made.doubled += 1
            continue
        seen[one.device].add(one.number)
        made.stored += 1
        made.disordered += one.number < last.get(one.device, 0)
        last[one.device] = max(one.number, last.get(one.device, 0))
        wrong = abs(one.off_ms) > DATED
        made.misdated += wrong and one.told
        made.undated += wrong and not one.told
    missing = {device: taken[device] - len(numbers) for device, numbers in seen.items()}
    made.missing = sum(missing.values())
    worst = sorted(missing.items(), key=lambda one: -one[1])[:5]
    made.worst = {device: count for device, count in worst if count}
    return made
