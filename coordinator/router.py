"""Which agent gets a task. Pure: the same candidates and random numbers, the same choice."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from random import Random
from typing import Final, Protocol, TypeVar

from coordinator.tiers import TIERS

FEW: Final = 4
"""Up to so many candidates all are compared; above, two are drawn. Two random choices leave
the fullest queue exponentially shorter than one, and a third adds little (Mitzenmacher,
"The Power of Two Choices in Randomized Load Balancing", 1996)."""

DRAWS: Final = 8
"""How often two are drawn when both were ruled out, before all are looked at."""

FINEST: Final = 16
"""Parts of a millisecond that the first tiers tell apart."""

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


def tier(outstanding: int, slots: int, service_ms: float | None, failing: float = 0.0) -> int:
    """How good a place an agent is for one more task; 0 is the best, ``TIERS - 1`` the worst.

    By when the task would be done there, in powers of two: run times are rough averages, and
    agents that are about as good as each other are to share the work. A place in a queue is
    always worse than a free slot of the same agent, because those ahead may be long. An agent
    of which no run time is known comes first, and so becomes known. Each failure of late
    counts as if it was twice as slow, or one that fails at once would draw all tasks to it.
    """
    if service_ms is None:
        return TIERS - 1 if failing else 0
    if outstanding >= slots:
        service_ms *= 1 + (outstanding + 1) / slots
    return min(TIERS - 1, 1 + int(service_ms * FINEST).bit_length() + round(failing))


def pick(
    tiers: Iterable[Sequence[C]], capability: str, rng: Random, ruled_out: Collection[str] = ()
) -> C | None:
    """The choice from the first of ``tiers`` that has a candidate; None if every one is ruled
    out."""
    for free in tiers:
        chosen = choose(free, capability, rng, ruled_out)
        if chosen is not None:
            return chosen
    return None


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
