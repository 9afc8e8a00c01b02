"""What became of tasks on both sides of a link, judged from what both have. Nothing here does
I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.edge.outcome import Stored


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of tasks."""

    missing_at_hub: list[str]
    """Accepted, and no result at the hub."""
    missing_at_submitter: list[str]
    """Accepted, and whoever submitted it was told of no result."""
    failed: list[str]
    """With a result at the hub that is not ``completed``."""
    doubled: int
    """Results at the hub beyond the first of a task."""
    doubled_at_site: int
    disordered: int
    """Results that the hub stored after one that the site stored later."""
    queued: int
    """Results that the site stored while it was cut off."""
    first: float
    """Unix time at which the hub stored the first of these; 0 where there are none."""
    last: float
    """And the last."""


def judge(
    accepted: Collection[str],
    told: Collection[str],
    hub: Sequence[Stored],
    site: Sequence[Stored],
    away: tuple[float, float],
) -> Verdict:
    """Compare what was accepted with what each side has, in the order in which it stored it.

    Args:
        accepted: ids of all tasks that were submitted, here or there.
        told: those of which the submitter was told the result.
        away: from when to when the site was cut off, in Unix seconds.
    """
    at_hub = _firsts(hub)
    at_site = _firsts(site)
    began, ended = away
    queued = [
        at_hub[task].at
        for task, one in at_site.items()
        if began <= one.at < ended and task in at_hub and at_hub[task].at >= ended
    ]
    places = {task: place for place, task in enumerate(at_site)}
    order = [places[task] for task in at_hub if task in places]
    return Verdict(
        missing_at_hub=sorted(set(accepted) - at_hub.keys()),
        missing_at_submitter=sorted(set(accepted) - set(told)),
        failed=sorted(task for task in accepted if _state(at_hub, task) != "completed"),
        doubled=_doubled(hub),
        doubled_at_site=_doubled(site),
        disordered=sum(later < earlier for earlier, later in pairwise(order)),
        queued=len(queued),
        first=min(queued, default=0.0),
        last=max(queued, default=0.0),
    )


def _state(found: Mapping[str, Stored], task: str) -> str:
    # A task without any result is missing and not failed.
    return found[task].state if task in found else "completed"


def _firsts(results: Sequence[Stored]) -> dict[str, Stored]:
    """The first result of each task, in order."""
    found: dict[str, Stored] = {}
    for one in results:
        found.setdefault(one.task, one)
    return found


def _doubled(results: Sequence[Stored]) -> int:
    return sum(times - 1 for times in Counter(one.task for one in results).values())
