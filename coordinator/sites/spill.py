"""Which side of a link gets a task. Pure decisions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from bus.selectors import Selector, narrowest
from bus.sites import HUB
from bus.wire.site import Spill


class Candidate(Protocol):
    """What the choice needs to know of another side."""

    @property
    def name(self) -> str: ...
    @property
    def connected(self) -> bool: ...
    @property
    def spill(self) -> Spill: ...
    @property
    def accepts(self) -> tuple[str, ...]: ...
    @property
    def room(self) -> int: ...

    def expected_wait(self, capability: str) -> float: ...
    def names(self, selector: Selector) -> bool: ...


def named(selector: Selector, site: str, agents: Iterable[str] = ()) -> bool:
    """True if a task with this selector is meant for ``site``, or for one of its ``agents``."""
    scope = narrowest(selector)
    return (scope.kind == "site" and scope.name == site) or (
        scope.kind == "agent" and scope.name in agents
    )


def choose(
    places: Iterable[Candidate],
    capability: str,
    selector: Selector,
    passed: tuple[str, ...],
    here: str,
    offered: bool,
    wait: float | None,
) -> Candidate | None:
    """The side to hand a task over to; None to keep it here.

    Args:
        places: sides where somebody may do it.
        passed: sides that it has come from: it goes back to none of them.
        here: this side's name.
        offered: somebody here may do it, or did until a moment ago.
        wait: milliseconds until it would be done here; None if nobody here has room.
    """
    best: Candidate | None = None
    best_wait = 0.0
    for place in places:
        if place.name in passed:
            continue
        source = passed[0] if passed else here
        meant = place.names(selector)
        # What the hub's own clients address to a site is sent there, not spilled.
        if source not in place.accepts and not (meant and source == HUB):
            continue
        # What names no site stays where it can still go elsewhere until the link is back.
        if not place.connected and not (meant and not offered):
            continue
        took = place.expected_wait(capability)
        if offered:
            if place.spill == "never" or place.room <= 0:
                continue
            if wait is not None and (place.spill != "always" or took >= wait):
                continue
        if best is None or (place.connected, -took) > (best.connected, -best_wait):
            best, best_wait = place, took
    return best
