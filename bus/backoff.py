"""Delays that grow and are spread."""

from __future__ import annotations

from random import Random


def full_jitter(tries: int, base: float, cap: float, rng: Random) -> float:
    """Seconds to wait before the next try, ``tries`` having failed.

    The jitter is applied after the cap. Applied before it, every client that has reached the
    cap waits the same time, and a herd that lost a server together comes back together.
    (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.)
    """
    bound = min(cap, base * 2.0 ** min(tries, 32))
    return rng.uniform(0.0, bound)


def retry_delay(attempt: int, base: float, cap: float, rng: Random) -> float:
    """Seconds before a failed task is tried again, ``attempt`` counting from 1.

    Half fixed and half random: never at once, and never all together.
    """
    bound = min(cap, base * 2.0 ** min(attempt - 1, 32))
    return bound / 2 + rng.uniform(0.0, bound / 2)
