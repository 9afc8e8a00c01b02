"""Figures and runs made by hand."""

from __future__ import annotations

from typing import Any

from bench.harness.figures import FORMAT, Fact, Failure, Figure, Grid, Latency, Note, Run


def figure(**given: Any) -> Figure:
    """One figure; everything that is not given is something plausible."""
    values: dict[str, Any] = {
        "scenario": "dispatch",
        "metric": "tasks/s",
        "side": "ours",
        "params": {},
        "unit": "tasks/s",
        "better": "higher",
        "values": (100.0, 110.0, 120.0),
    }
    return Figure(**{**values, **given})


def run(
    *figures: Figure,
    latencies: tuple[Latency, ...] = (),
    notes: tuple[Note, ...] = (),
    failures: tuple[Failure, ...] = (),
    facts: tuple[Fact, ...] = (Fact("processor", "2 × Abacus"),),
    grids: tuple[Grid, ...] = (),
    quick: bool = False,
) -> Run:
    """A run with these figures."""
    return Run(
        format=FORMAT,
        started="2026-11-21T12:00:00+00:00",
        seconds=12.5,
        scenarios=tuple(dict.fromkeys(one.scenario for one in figures)) or ("dispatch",),
        rounds=3,
        quick=quick,
        facts=facts,
        figures=figures,
        latencies=latencies,
        notes=notes,
        failures=failures,
        grids=grids,
    )
