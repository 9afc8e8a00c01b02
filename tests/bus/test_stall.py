"""Telling old messages from new ones after a stop."""

from __future__ import annotations

import time

import pytest

from bus.stall import Stall


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_nothing_is_stale_while_it_ticks(clock: Clock) -> None:
    stall = Stall(0.5)
    for _ in range(20):
        clock.now += 1.0
        assert not stall.stale(clock.now, 2.0)
        stall.tick(2.0)
        assert not stall.stale(clock.now, 2.0)


@pytest.mark.parametrize("ticks_first", [True, False])
def test_all_is_stale_for_a_moment_after_a_stop(clock: Clock, ticks_first: bool) -> None:
    stall = Stall(0.5)
    clock.now += 2.1
    if ticks_first:
        stall.tick(2.0)
    assert stall.stale(clock.now, 2.0)
    clock.now += 0.3
    stall.tick(2.0)
    assert stall.stale(clock.now, 2.0)
    clock.now += 0.5
    # A tick within that moment does not make it longer.
    stall.tick(2.0)
    assert not stall.stale(clock.now, 2.0)


def test_a_time_in_which_nothing_could_come_is_no_stop(clock: Clock) -> None:
    stall = Stall(0.5)
    clock.now += 60.0
    stall.forgive()
    assert not stall.stale(clock.now, 2.0)
    stall.tick(2.0)
    assert not stall.stale(clock.now, 2.0)
