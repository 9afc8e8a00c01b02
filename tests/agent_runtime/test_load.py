"""How much more an agent will take, and when coordinators should hear of it."""

from __future__ import annotations

import pytest

from agent_runtime.load import EWMA, FEEDBACK, MAX_PREFETCH, Load, prefetch


@pytest.mark.parametrize(
    ("slots", "service", "expected"),
    [
        (4, 0.0, 0),  # nothing is known
        (4, -1.0, 0),
        (1, 10.0, 0),  # long tasks never queue
        (1, FEEDBACK, 1),
        (1, FEEDBACK * 1.01, 0),
        (4, FEEDBACK, 4),
        (4, 0.001, 200),
        (64, 0.001, MAX_PREFETCH),
        (1, 1e-12, MAX_PREFETCH),
    ],
)
def test_prefetch(slots: int, service: float, expected: int) -> None:
    assert prefetch(slots, service) == expected


def run(load: Load, seconds: float, capability: str = "echo") -> bool:
    """Take one task and run it."""
    load.accept("c1")
    load.queued -= 1
    load.running += 1
    return load.finish(capability, seconds)


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
    assert load.service_ms["echo"] == pytest.approx(100 + EWMA * 100)


def test_run_times_are_kept_for_each_capability_and_for_all() -> None:
    load = Load(1)
    run(load, 0.100, "slow")
    run(load, 0.001, "fast")
    assert load.service_ms == {"slow": 100.0, "fast": 1.0}
    assert load.service == pytest.approx(0.1 + EWMA * (0.001 - 0.1))


def test_short_tasks_widen_the_window_and_long_ones_close_it() -> None:
    load = Load(2)
    run(load, 0.001)
    assert load.window == 2 + prefetch(2, 0.001) == 102
    for _ in range(50):
        run(load, 5.0)
    assert load.window == 2


def test_a_run_that_took_no_measurable_time_is_no_measure() -> None:
    load = Load(2)
    run(load, 0.0)
    assert (load.service, load.window) == (0.0, 2)
    run(load, 0.1)
    assert load.service == 0.1


def test_from_full_to_free_is_told_at_once() -> None:
    load = Load(8)
    for _ in range(8):
        load.accept("c1")
    load.queued, load.running = 0, 8
    assert load.finish("echo", 10.0)
    load.beat_done = load.done
    # The next one is neither from full nor a quarter of the window.
    assert not load.finish("echo", 10.0)


def test_a_quarter_of_the_window_is_told() -> None:
    load = Load(8)
    assert [run(load, 10.0) for _ in range(2)] == [False, True]
    load.beat_done = load.done
    assert [run(load, 10.0) for _ in range(3)] == [False, True, True]


def test_the_quarter_is_of_the_room_that_is_known() -> None:
    """The window has just grown; the coordinators still count with the small one."""
    load = Load(4)
    load.beat_window = 4
    assert run(load, 0.001)
    load.beat_done, load.beat_window = load.done, load.window
    assert not run(load, 0.001)
