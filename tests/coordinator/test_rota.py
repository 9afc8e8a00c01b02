"""Whom to look at when: nobody is missed, and nobody is looked at more often than needed."""

from __future__ import annotations

import pytest

from coordinator.rota import Rota

SLOT = 0.25
START = 1_000_000.0
"""A clock that has run for long, as monotonic clocks do."""


class One:
    def __init__(self, name: str) -> None:
        self.name = name
        self.due = 0


@pytest.fixture
def rota() -> Rota[One]:
    return Rota(SLOT, START)


def taken(rota: Rota[One], at: float) -> list[str]:
    return [one.name for one in rota.take(START + at)]


def test_hands_out_when_the_moment_has_come_and_not_before(rota: Rota[One]) -> None:
    rota.put(One("a"), START + 1.0)
    assert taken(rota, 0.99) == []
    assert taken(rota, 1.0 + SLOT) == ["a"]
    assert taken(rota, 9.0) == []


def test_a_later_moment_changes_nothing_and_an_earlier_one_counts(rota: Rota[One]) -> None:
    one = One("a")
    rota.put(one, START + 2.0)
    rota.put(one, START + 8.0)
    assert taken(rota, 2.0 + SLOT) == ["a"]
    rota.put(one, START + 9.0)
    rota.put(one, START + 4.0)
    assert taken(rota, 4.0 + SLOT) == ["a"]
    # The place that it had before is not worth a look any more.
    assert taken(rota, 20.0) == []


def test_a_look_that_comes_late_hands_out_all(rota: Rota[One]) -> None:
    for number in range(40):
        rota.put(One(str(number)), START + number)
    assert taken(rota, 100.0) == [str(number) for number in range(40)]


def test_a_moment_that_is_past_comes_with_the_next_look(rota: Rota[One]) -> None:
    taken(rota, 10.0)
    rota.put(One("a"), START + 3.0)
    assert taken(rota, 10.0 + SLOT) == ["a"]


def test_who_is_handed_out_can_be_put_down_at_once(rota: Rota[One]) -> None:
    one = One("a")
    rota.put(one, START + 1.0)
    looks = 0
    for tick in range(40):
        for found in rota.take(START + tick * SLOT):
            looks += 1
            rota.put(found, START + tick * SLOT)
    # Each look from the first second on, and once in each.
    assert looks == 40 - 5
