"""Durable tasks: ours against the floors, interleaved in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from bench import floor, ours
from bench.processes import running
from bench.report import Row, at_least, at_most

PAYLOAD: Final = b"x" * 128
LOADS: Final = ((512, 20_000), (64, 10_000), (1, 1_500))
"""Outstanding tasks, and how many to submit in all."""


Submit = Callable[[str, int, int, bytes], Coroutine[Any, Any, list[float]]]


async def run(url: str, rounds: int, scale: float) -> list[Row]:
    """``scale`` shortens the runs for a smoke test."""
    sides: dict[str, Submit] = {
        "floor": partial(_floor, floor.LEAN),
        "full floor": partial(_floor, floor.FULL),
        "ours": ours.submit,
    }
    commands: list[tuple[str, ...]] = []
    for kind in floor.KINDS.values():
        await floor.setup(url, kind)
        commands.append(("-m", "bench.floor", "coordinator", url, kind.name))
        commands += [("-m", "bench.floor", "agent", url, kind.name, name) for name in ("1", "2")]
    commands.append(("-m", "bench.ours", "coordinator", url))
    commands += [("-m", "bench.ours", "agent", url, name) for name in ("o1", "o2")]
    rates: dict[tuple[str, int], list[float]] = {}
    middles: dict[tuple[str, int], list[float]] = {}
    async with running(*commands):
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
            name = f"{side}, {outstanding} outstanding"
            rows.append(Row("dispatch", name, tuple(rates[side, outstanding]), "tasks/s"))
        rows += _compared(rates, outstanding, "", outstanding == 512)
    for side in sides:
        rows.append(Row("dispatch", f"{side}, p50 at 1", tuple(middles[side, 1]), "ms"))
    return rows + _compared(middles, 1, "p50 ", True)


async def _floor(
    kind: floor.Kind, url: str, count: int, outstanding: int, payload: bytes
) -> list[float]:
    return await floor.submit(url, kind, count, outstanding, payload)


def _compared(
    figures: dict[tuple[str, int], list[float]], outstanding: int, what: str, held: bool
) -> list[Row]:
    """Ours against both floors; the lean one is the target, where there is one."""
    rows = []
    for side in ("floor", "full floor"):
        ratio = _ratios(figures["ours", outstanding], figures[side, outstanding])
        target, met = "", None
        if held and side == "floor":
            target = "≤ 1.5" if what else "≥ 0.7"
            met = at_most(1.5, ratio) if what else at_least(0.7, ratio)
        name = f"ours / {side}, {what}at {outstanding}"
        rows.append(Row("dispatch", name, ratio, "×", target, met))
    return rows


def _ratios(ours_: list[float], floor_: list[float]) -> tuple[float, ...]:
    """Round by round: the machine's speed drifts, and both sides drift together."""
    return tuple(a / b for a, b in zip(ours_, floor_, strict=True))
