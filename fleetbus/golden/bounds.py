"""A report that fits into a message. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from fleetbus.golden.report import REASON, Report, Side, Split, clip


def bounded(report: Report, limit: int) -> bytes:
    """``report`` as JSON of at most ``limit`` bytes: details are left out until it fits, those of
    instances without findings first, never the counts of the whole.

    ``limit`` is at least 4 KiB.
    """
    report = msgspec.structs.replace(report, why=tuple(clip(one, 200) for one in report.why))
    for findings, length, instances in _STEPS:
        smaller = _smaller(report, findings, length, instances)
        data = msgspec.json.encode(smaller)
        if len(data) <= limit:
            return data
    raise ValueError(f"{limit} bytes do not hold the counts of a report")


_STEPS: Final[tuple[tuple[int, int, int], ...]] = (
    (1000, REASON * 2, 10**9),
    (20, REASON * 2, 10_000),
    (5, 200, 2000),
    (3, 100, 500),
    (1, 80, 100),
    (1, 60, 10),
    (0, 0, 0),
)
"""How many findings of an instance are kept, how long, and how many instances, cases, versions."""


def _smaller(report: Report, findings: int, length: int, most: int) -> Report:
    # Those with findings are what a report is read for.
    kept = sorted(report.agents, key=lambda one: not one.findings)[:most]
    agents = tuple(
        msgspec.structs.replace(
            one,
            versions=dict(list(one.versions.items())[:most]),
            findings=tuple(
                msgspec.structs.replace(f, reason=clip(f.reason, length))
                for f in one.findings[:findings]
            ),
        )
        for one in sorted(kept, key=lambda one: one.agent)
    )
    split = tuple(
        Split(
            one.case,
            tuple(
                Side(s.count, s.agents[: min(most, 20)], clip(s.answer, length))
                for s in one.sides[: min(most, 20)]
            ),
        )
        for one in report.split_cases[:most]
    )
    capabilities = {
        name: dict(list(versions.items())[:most])
        for name, versions in list(report.capabilities.items())[:most]
    }
    return msgspec.structs.replace(
        report,
        agents=agents,
        split_cases=split,
        capabilities=capabilities,
        unasked_cases=report.unasked_cases[:most],
        source=clip(report.source, 200),
    )
