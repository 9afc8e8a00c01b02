"""A fleet as fleets are: fast agents, slow ones, and one that stands still now and then.

Pure: what the real agents are started with and what the simulation works with.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

SLOTS: Final = 2
"""Tasks that an agent of any kind runs at a time. Few, so that two cores carry five such fleets
at once with half of them to spare."""

STALL: Final = 1.0
"""Seconds for which a stalling agent stands still: its event loop is blocked, so it neither
takes anything nor finishes anything nor says that it cannot."""

BETWEEN_STALLS: Final = (3.0, 7.0)
"""Seconds from the end of one stall to the begin of the next: drawn from between these."""

Stalls = tuple[tuple[float, float], ...]
"""Begin and end of each, in seconds from the begin of a run, ascending."""


@dataclass(frozen=True)
class Kind:
    """Agents that are alike; they share a process."""

    name: str
    agents: int
    slowness: float = 1.0
    """How many times longer than on a fast agent a task takes."""
    stalls: bool = False

    @property
    def names(self) -> list[str]:
        """Their ids."""
        return [f"{self.name}-{number}" for number in range(self.agents)]


KINDS: Final = (
    Kind("fast", 4),
    Kind("slow", 3, slowness=4.0),
    Kind("stalling", 1, stalls=True),
)
"""The fleet."""

AGENTS: Final = tuple(name for kind in KINDS for name in kind.names)
"""All of its agents' ids."""


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        KeyError: there is none.
    """
    return {kind.name: kind for kind in KINDS}[name]


def stalls(seconds: float, seed: int) -> Stalls:
    """When a stalling agent stands still in a run of ``seconds``; none begins later."""
    draw = random.Random(f"stalls {seed}")
    found: list[tuple[float, float]] = []
    begin = draw.uniform(0.0, BETWEEN_STALLS[1])
    while begin < seconds:
        found.append((begin, begin + STALL))
        begin += STALL + draw.uniform(*BETWEEN_STALLS)
    return tuple(found)


def capacity() -> float:
    """Seconds of work, as a fast agent counts them, that the fleet can do in a second."""
    between = sum(BETWEEN_STALLS) / 2
    awake = between / (between + STALL)
    return sum(
        kind.agents * SLOTS / kind.slowness * (awake if kind.stalls else 1.0) for kind in KINDS
    )
