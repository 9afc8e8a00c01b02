"""How much more an agent will take, and when coordinators should hear of it."""

from __future__ import annotations

import pytest

from agent_runtime.load import (
    EWMA,
    HALF_LIFE,
    MAX_PREFETCH,
    MAX_ROUND,
    ROUND,
    SHORTEST_MS,
    Load,
    feedback,
    prefetch,
)


@pytest.mark.parametrize(
    ("slots", "service", "expected"),
    [
        (4, 0.0, 0),  # nothing is known
        (4, -1.0, 0),
        (1, 10.0, 0),  # long tasks never queue
        (1, ROUND, 1),
        (1, ROUND * 1.01, 0),
        (4, ROUND, 4),
        (4, 0.001, 40),
        (64, 0.0001, MAX_PREFETCH),
        (1, 1e-12, MAX_PREFETCH),
    ],
)
def test_prefetch(slots: int, service: float, expected: int) -> None:
    assert prefetch(slots, service) == expected


@pytest.mark.parametrize(
    ("round_trip", "expected"),
    [(0.0, ROUND), (0.001, ROUND + 0.002), (0.1, ROUND + 0.2), (3.0, MAX_ROUND)],
)
def test_feedback(round_trip: float, expected: float) -> None:
    assert feedback(round_trip) == pytest.approx(expected)


def test_a_network_that_is_slow_for_good_widens_the_window() -> None:
    load = Load(2)
    run(load, 0.01)
    assert load.window == 2 + prefetch(2, 0.01) == 4
    for _ in range(2):
        load.took(0.1)
    run(load, 0.01)
    assert load.window == 2 + prefetch(2, 0.01, ROUND + 0.2) == 44


def test_a_stall_of_our_own_is_not_the_network() -> None:
    load = Load(2)
    for seconds in (0.001, 3.0, 0.001):
        load.took(seconds)
        assert load.feedback <= ROUND + 0.002


def run(load: Load, seconds: float, capability: str = "echo", worked: bool | None = True) -> bool:
    """Take one task and run it."""
    load.accept("c1")
    load.queued -= 1
    load.running += 1
    return load.finish(capability, seconds, worked)


def test_room_counts_running_and_queued() -> None:
    load = Load(3)
    assert (load.room, load.window) == (3, 3)
    load.accept("c1")
    load.accept("c2")
    load.accept("c1")
    assert (load.room, load.queued, load.accepted) == (0, 3, {"c1": 2, "c2": 1})


def test_first_run_time_is_believed_and_later_ones_move_it() -> None:
    load = Load(1)
    run(load, 0.100)
    assert (load.service, load.service_ms) == (0.1, {"echo": 100.0})
    run(load, 0.200)
    assert load.service == pytest.approx(0.1 + EWMA * 0.1)
    # Half-way between the two, on a scale of powers.
    assert load.service_ms["echo"] == pytest.approx(100 * 2**0.5)


def test_one_long_task_says_little_of_the_speed() -> None:
    load = Load(1)
    for _ in range(50):
        run(load, 0.010)
    run(load, 1.0)
    assert load.service_ms["echo"] == pytest.approx(10 * 100**EWMA)
    assert load.service_ms["echo"] < 16
    for _ in range(30):
        run(load, 0.040)
    assert load.service_ms["echo"] > 37


def test_a_slow_begin_is_soon_forgotten() -> None:
    """The first run of all loads what the others need."""
    load = Load(1)
    run(load, 5.0)
    for _ in range(9):
        run(load, 0.050)
    assert load.service_ms["echo"] < 100


def test_run_times_are_kept_for_each_capability_and_for_all() -> None:
    load = Load(1)
    run(load, 0.100, "slow")
    run(load, 0.001, "fast")
    assert load.service_ms == {"slow": 100.0, "fast": 1.0}
    assert load.service == pytest.approx(0.1 + EWMA * (0.001 - 0.1))


def test_who_fails_at_once_is_not_taken_to_be_fast() -> None:
    load = Load(1)
    run(load, 0.100)
    for _ in range(3):
        run(load, 0.0001, worked=False)
    assert load.service_ms == {"echo": 100.0}
    assert load.failing == {"echo": 3.0}
    # Canceled, or not for us to run.
    run(load, 0.0001, worked=None)
    assert (load.service_ms, load.failing) == ({"echo": 100.0}, {"echo": 3.0})
    for _ in range(60):
        run(load, 0.100)
    assert load.failing == {}


def test_who_gets_no_work_is_thought_better_of() -> None:
    """A coordinator that goes by what was true long ago would never find out."""
    load = Load(1)
    load.reported(1000.0)
    run(load, 0.800, "slow")
    run(load, 0.800, "seldom")
    run(load, 0.001, "seldom", worked=False)
    load.reported(1000.0 + HALF_LIFE)
    # Both have run since the last heartbeat.
    assert load.service_ms["slow"] == pytest.approx(800)
    assert load.failing == {"seldom": 1.0}
    run(load, 0.800, "slow")
    load.reported(1000.0 + 3 * HALF_LIFE)
    assert load.service_ms == {"slow": pytest.approx(800), "seldom": pytest.approx(200)}
    assert load.failing == {"seldom": 0.25}
    for number in range(4, 8):
        load.reported(1000.0 + number * HALF_LIFE)
    assert load.failing == {}


def test_what_was_known_is_doubted_but_not_forgotten() -> None:
    load = Load(1)
    load.reported(1.0)
    for _ in range(20):
        run(load, 10.0)
    load.reported(2.0)
    for number in range(1, 2000):  # two weeks of heartbeats
        load.reported(2.0 + number * HALF_LIFE)
    assert load.service_ms["echo"] == pytest.approx(10_000 / 8)
    run(load, 10.0)
    assert load.service_ms["echo"] == pytest.approx(10_000)


def test_short_tasks_widen_the_window_and_long_ones_close_it() -> None:
    load = Load(2)
    run(load, 0.001)
    assert load.window == 2 + prefetch(2, 0.001) == 22
    for _ in range(50):
        run(load, 5.0)
    assert load.window == 2


def test_a_run_that_took_no_measurable_time_is_no_measure() -> None:
    load = Load(2)
    run(load, 0.0)
    assert (load.service, load.window) == (0.0, 2)
    assert load.service_ms == {"echo": SHORTEST_MS}
    run(load, 0.1)
    assert load.service == 0.1


def started(load: Load, count: int) -> None:
    """Take so many tasks and have them run."""
    for _ in range(count):
        load.accept("c1")
        load.queued -= 1
        load.running += 1


def test_from_full_to_free_is_told_at_once() -> None:
    load = Load(8)
    started(load, 8)
    assert load.finish("echo", 10.0)


def test_free_room_is_told_at_once_while_little_is_known_of() -> None:
    """Coordinators count what they send, but not what ends."""
    load = Load(8)
    load.reported(1.0)
    started(load, 5)
    assert load.known == 3
    # Three of eight: enough for now.
    assert not load.finish("echo", 10.0)
    started(load, 1)
    assert load.known == 2
    assert load.finish("echo", 10.0)
    load.reported(2.0)
    assert load.known == 4
    assert not load.finish("echo", 10.0)


def test_a_quarter_of_the_window_is_told() -> None:
    load = Load(80)
    assert [run(load, 10.0) for _ in range(20)] == [False] * 19 + [True]
    load.reported(1.0)
    assert [run(load, 10.0) for _ in range(20)] == [False] * 19 + [True]


def test_the_quarter_is_of_the_room_that_is_known() -> None:
    """The window has just grown; the coordinators still count with the small one."""
    load = Load(4)
    load.reported(1.0)
    assert run(load, 0.001)
    load.reported(2.0)
    assert not run(load, 0.001)
