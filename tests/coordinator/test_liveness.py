"""Alive, suspect or lost."""

from __future__ import annotations

import math

import pytest

from coordinator.liveness import Answer, Verdict, after_probe, judge


@pytest.mark.parametrize(
    ("silence", "promised", "verdict"),
    [
        # No promise: only the lease decides.
        (1e9, 0.0, "alive"),
        (1e9, -1.0, "alive"),
        # A short promise has the floor of half a second.
        (0.0, 0.1, "alive"),
        (0.6, 0.1, "alive"),
        (0.65, 0.1, "suspect"),
        (0.7, 0.1, "suspect"),
        (0.75, 0.1, "lost"),
        # From one second on it is the share that counts.
        (1.5, 1.0, "alive"),
        (1.51, 1.0, "suspect"),
        (2.5, 1.0, "suspect"),
        (2.51, 1.0, "lost"),
        (15.0, 10.0, "alive"),
        (15.1, 10.0, "suspect"),
        (25.0, 10.0, "suspect"),
        (25.1, 10.0, "lost"),
        # A clock that was set forward for calm: silence is negative.
        (-5.0, 1.0, "alive"),
        (math.inf, 1.0, "lost"),
    ],
)
def test_silence(silence: float, promised: float, verdict: Verdict) -> None:
    assert judge(silence, promised) == verdict


@pytest.mark.parametrize(
    ("answer", "silent", "verdict"),
    [
        ("same", 0, "alive"),
        ("same", 5, "alive"),
        ("other", 0, "lost"),
        ("nobody", 0, "lost"),
        ("silence", 1, "suspect"),
        ("silence", 2, "lost"),
        ("silence", 3, "lost"),
    ],
)
def test_probe(answer: Answer, silent: int, verdict: Verdict) -> None:
    assert after_probe(answer, silent, disconnected=False) == verdict


def test_silence_after_a_disconnect_is_proof() -> None:
    assert after_probe("silence", 1, disconnected=True) == "lost"
    assert after_probe("same", 0, disconnected=True) == "alive"
