"""Tasks as they come: most short, some medium, a few long. Nobody but the harness knows which."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from bench.harness.load import poisson


class Job(NamedTuple):
    """One task."""

    at: float
    """When it is submitted, in seconds from the begin of the run."""
    length: float
    """Seconds that it takes on a fast agent."""


@dataclass(frozen=True)
class Mix:
    """How long tasks are, in seconds, and which share of them."""

    short: tuple[float, float] = (0.005, 0.020)
    """Drawn from between these; all that are neither medium nor long."""
    medium: float = 0.1
    medium_share: float = 0.18
    long: float = 1.0
    long_share: float = 0.02

    @property
    def mean(self) -> float:
        """Seconds that a task takes on average."""
        short_share = 1.0 - self.medium_share - self.long_share
        return (
            sum(self.short) / 2 * short_share
            + self.medium * self.medium_share
            + self.long * self.long_share
        )

    def is_short(self, length: float) -> bool:
        """True for what neither is medium nor long."""
        return length <= self.short[1]

    def draw(self, rng: random.Random) -> float:
        """The length of one task."""
        share = rng.random()
        if share < self.long_share:
            return self.long
        if share < self.long_share + self.medium_share:
            return self.medium
        return rng.uniform(*self.short)

    def jobs(self, rate: float, seconds: float, seed: int) -> list[Job]:
        """``rate`` tasks a second on average, from callers who know nothing of each other."""
        rng = random.Random(f"lengths {seed}")
        return [Job(at, self.draw(rng)) for at in poisson(rate, seconds, seed)]


USUAL: Final = Mix()
QUICK: Final = replace(USUAL, long=0.1)
"""For a smoke test: nobody waits for a long task on a slow agent."""
