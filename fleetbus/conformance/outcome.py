"""How one check ended, and how a run did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fleetbus.conformance.check import Check, Level

Verdict = Literal["pass", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one check."""

    check: str
    level: Level
    rule: str
    see: str
    outcome: Verdict
    seconds: float
    expected: str = ""
    """Of one that failed: what should have come."""
    got: str = ""
    """What came instead; of one that was skipped, why."""


@dataclass(frozen=True, slots=True)
class Report:
    """Of a run."""

    ok: bool
    """All required checks passed."""
    passed: int
    failed: int
    """Required ones."""
    failed_optional: int
    skipped: int
    seconds: float
    checks: list[Outcome]


def outcome(
    check: Check, verdict: Verdict, seconds: float, expected: str = "", got: str = ""
) -> Outcome:
    """How ``check`` ended."""
    return Outcome(
        check.id, check.level, check.rule, check.see, verdict, round(seconds, 3), expected, got
    )


def summed(outcomes: list[Outcome], seconds: float) -> Report:
    """What outcomes make together. Pure."""
    failed = [one for one in outcomes if one.outcome == "fail"]
    required = [one for one in failed if one.level == "required"]
    return Report(
        ok=not required,
        passed=sum(one.outcome == "pass" for one in outcomes),
        failed=len(required),
        failed_optional=len(failed) - len(required),
        skipped=sum(one.outcome == "skip" for one in outcomes),
        seconds=round(seconds, 2),
        checks=outcomes,
    )
