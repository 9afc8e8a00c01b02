"""The scenario ``soak``, small, and the trend that it looks for."""

from __future__ import annotations

import random

import pytest

from bench.harness.trend import slope
from tests.support.scenarios import figure, smoke, value


@pytest.mark.slow
@pytest.mark.fault
async def test_memory_is_sampled_under_faults_and_nothing_is_lost() -> None:
    session = await smoke("soak")
    for name in ("coordinator", "agent", "client", "nats-server"):
        assert figure(session, "memory growth after warm-up", name).target is not None
        for when in ("after warm-up", "at the end"):
            resident = value(session, f"resident memory {when}", name)
            assert resident > value(session, f"own memory {when}", name) > 1
    assert value(session, "lost") == 0
    assert value(session, "completed") > 200
    for metric in ("completed, 2 MiB", "agents killed", "connections cut"):
        assert value(session, metric) >= 1
    for metric in (
        "duplicated",
        "refused submissions",
        "run again after a kill",
        "refused results",
    ):
        assert value(session, metric) >= 0
    [latency] = session.latencies
    assert latency.open_loop


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0, 1), (1, 3)], 2.0),
        ([(x, 5.0) for x in range(10)], 0.0),
        ([(x, 0.5 * x) for x in range(20)], 0.5),
        # Two wild ones of ten do not move it.
        ([(x, 100.0 if x in (3, 8) else x) for x in range(10)], 1.0),
    ],
)
def test_slope(points: list[tuple[float, float]], expected: float) -> None:
    assert slope(points) == pytest.approx(expected)


def test_a_step_at_the_beginning_is_no_growth() -> None:
    draw = random.Random(1)
    points = [(float(x), (0 if x < 5 else 30) + draw.gauss(0, 1)) for x in range(200)]
    assert abs(slope(points)) < 0.02


def test_a_slope_needs_two_points() -> None:
    with pytest.raises(ValueError, match="two points"):
        slope([(1.0, 2.0), (1.0, 3.0)])
