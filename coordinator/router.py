"""Which agent gets a task. Pure: the same candidates and random numbers, the same choice."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from hashlib import blake2b
from random import Random
from typing import Final, Protocol, TypeVar

FEW: Final = 4
"""Up to so many candidates all are compared; above, two are drawn. Two random choices leave
the fullest queue exponentially shorter than one, and a third adds little (Mitzenmacher,
"The Power of Two Choices in Randomized Load Balancing", 1996)."""

DRAWS: Final = 8
"""How often two are drawn when both were ruled out, before all are looked at."""

PREFERRED: Final = 8
"""Agents of a session's ranking that are tried before it goes wherever there is room."""


class Candidate(Protocol):
    """What the choice needs to know of an agent."""

    @property
    def id(self) -> str: ...

    def expected_wait(self, capability: str) -> float: ...


C = TypeVar("C", bound=Candidate)


def expected_wait(outstanding: int, slots: int, service_ms: float) -> float:
    """Milliseconds until one more task would be done: those ahead of it and its own share."""
    return (outstanding + 1) / slots * service_ms


def choose(
    free: Sequence[C], capability: str, rng: Random, ruled_out: Collection[str] = ()
) -> C | None:
    """The candidate with the shorter expected wait of two drawn, or of all if they are few.

    ``free`` are agents with room; None if every one of them is ruled out.
    """
    count = len(free)
    if count > FEW:
        for _ in range(DRAWS):
            first = int(rng.random() * count)
            second = int(rng.random() * (count - 1))
            if second >= first:
                second += 1
            one, other = free[first], free[second]
            if not ruled_out:
                pass
            elif one.id in ruled_out:
                if other.id not in ruled_out:
                    return other
                continue
            elif other.id in ruled_out:
                return one
            if other.expected_wait(capability) < one.expected_wait(capability):
                return other
            return one
    best: C | None = None
    best_wait = 0.0
    # Equal waits must not always fall to the one that happens to stand first.
    offset = int(rng.random() * count) if count else 0
    for index in range(count):
        one = free[(index + offset) % count]
        if one.id in ruled_out:
            continue
        wait = one.expected_wait(capability)
        if best is None or wait < best_wait:
            best, best_wait = one, wait
    return best


def rank(session: str, members: Collection[str]) -> list[str]:
    """The agents that a session prefers, best first, by rendezvous hashing.

    When an agent comes or goes, only sessions that prefer it move. (Thaler and Ravishankar,
    "Using Name-Based Mappings to Increase Hit Rates", 1998.)
    """
    key = session.encode()[:64]

    def weight(member: str) -> bytes:
        return blake2b(member.encode(), key=key, digest_size=8).digest()

    return heapq.nlargest(PREFERRED, members, key=weight)
