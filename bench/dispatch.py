"""Durable tasks: ours against the floor, interleaved in one run."""

from __future__ import annotations

import statistics
from typing import Final

from bench import floor, ours
from bench.processes import running
from bench.report import Row, at_least, at_most

PAYLOAD: Final = b"x" * 128
LOADS: Final = ((512, 20_000), (64, 10_000), (1, 1_500))
"""Outstanding tasks, and how many to submit in all."""


async def run(url: str, rounds: int, scale: float) -> list[Row]:
    """``scale`` shortens the runs for a smoke test."""
    await floor.setup(url)
    rates: dict[tuple[str, int], list[float]] = {}
    middles: dict[tuple[str, int], list[float]] = {}
    sides = {"floor": floor.submit, "ours": ours.submit}
    async with running(
        ("-m", "bench.floor", "coordinator", url),
        ("-m", "bench.floor", "agent", url, "f1"),
        ("-m", "bench.floor", "agent", url, "f2"),
        ("-m", "bench.ours", "coordinator", url),
        ("-m", "bench.ours", "agent", url, "o1"),
        ("-m", "bench.ours", "agent", url, "o2"),
    ):
        for submit in sides.values():
            await submit(url, max(64, int(2000 * scale)), 64, PAYLOAD)  # warm up
        for _ in range(rounds):
            for outstanding, count in LOADS:
                for side, submit in sides.items():
                    total = max(outstanding, int(count * scale))
                    *took, whole = await submit(url, total, outstanding, PAYLOAD)
                    rates.setdefault((side, outstanding), []).append(total / whole)
                    middles.setdefault((side, outstanding), []).append(
                        statistics.median(took) * 1000
                    )
    rows = []
    for outstanding, _ in LOADS:
        for side in sides:
            rows.append(
                Row(
                    "dispatch",
                    f"{side}, {outstanding} outstanding",
                    tuple(rates[side, outstanding]),
                    "tasks/s",
                )
            )
        ratio = _ratios(rates["ours", outstanding], rates["floor", outstanding])
        target = "≥ 0.7" if outstanding == 512 else ""
        met = at_least(0.7, ratio) if target else None
        rows.append(
            Row("dispatch", f"ours / floor, {outstanding} outstanding", ratio, "×", target, met)
        )
    for side in sides:
        rows.append(Row("dispatch", f"{side}, p50 at 1", tuple(middles[side, 1]), "ms"))
    ratio = _ratios(middles["ours", 1], middles["floor", 1])
    rows.append(Row("dispatch", "ours / floor, p50 at 1", ratio, "×", "≤ 1.5", at_most(1.5, ratio)))
    return rows


def _ratios(ours_: list[float], floor_: list[float]) -> tuple[float, ...]:
    """Round by round: the machine's speed drifts, and both sides drift together."""
    return tuple(a / b for a, b in zip(ours_, floor_, strict=True))
