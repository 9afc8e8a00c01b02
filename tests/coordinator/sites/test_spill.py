"""Which side gets a task, from tables."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bus.selectors import Selector
from bus.wire.site import Spill
from coordinator.sites.spill import choose, named


@dataclass
class Side:
    name: str
    connected: bool = True
    spill: Spill = "never"
    accepts: tuple[str, ...] = ("hub",)
    room: int = 4
    took: float = 10.0

    def expected_wait(self, capability: str) -> float:
        return self.took

    def names(self, selector: Selector) -> bool:
        return named(selector, self.name, {f"a-{self.name}"})


def chosen(
    *sides: Side,
    select: str = "",
    passed: tuple[str, ...] = (),
    offered: bool = True,
    wait: float | None = None,
) -> str:
    found = choose(sides, "echo", Selector.parse(select), passed, "hub", offered, wait)
    return found.name if found is not None else ""


@pytest.mark.parametrize(
    ("spill", "offered", "wait", "goes"),
    [
        ("never", False, None, True),
        ("never", True, None, False),
        ("never", True, 50.0, False),
        ("when-full", False, None, True),
        ("when-full", True, None, True),
        ("when-full", True, 50.0, False),
        ("always", True, None, True),
        ("always", True, 50.0, True),
        ("always", True, 5.0, False),
    ],
)
def test_spill(spill: Spill, offered: bool, wait: float | None, goes: bool) -> None:
    assert chosen(Side("s1", spill=spill), offered=offered, wait=wait) == ("s1" if goes else "")


@pytest.mark.parametrize(
    ("side", "select", "passed", "goes"),
    [
        # From the hub's own clients.
        (Side("s1"), "", (), True),
        (Side("s1", accepts=()), "", (), False),
        (Side("s1", accepts=()), "site=s1", (), True),
        (Side("s1", accepts=()), "agent=a-s1", (), True),
        (Side("s1", accepts=("s2",)), "", (), False),
        # From another site.
        (Side("s1"), "", ("s2",), False),
        (Side("s1"), "site=s1", ("s2",), False),
        (Side("s1", accepts=("hub", "s2")), "", ("s2",), True),
        # Never back.
        (Side("s1", accepts=("hub", "s1")), "", ("s1",), False),
        (Side("s1", accepts=("hub", "s1", "s2")), "", ("s2", "s1"), False),
        # While it is away it gets what names it, and nothing that may yet go elsewhere.
        (Side("s1", connected=False), "", (), False),
        (Side("s1", connected=False), "gpu", (), False),
        (Side("s1", connected=False), "site=s1", (), True),
        (Side("s1", connected=False), "agent=a-s1", (), True),
    ],
)
def test_who_may_give(side: Side, select: str, passed: tuple[str, ...], goes: bool) -> None:
    assert chosen(side, select=select, passed=passed, offered=False) == ("s1" if goes else "")


def test_the_quickest_of_several_that_are_there() -> None:
    slow, quick, away = Side("s1", took=9.0), Side("s2", took=3.0), Side("s3", False, took=1.0)
    assert chosen(slow, quick, away, offered=False) == "s2"
    assert chosen(slow, away, select="site in (s1,s3)", offered=False) == "s1"


def test_one_without_room_gets_only_what_nobody_else_does() -> None:
    full = Side("s1", spill="when-full", room=0)
    assert chosen(full) == ""
    assert chosen(full, offered=False) == "s1"
