"""Is an agent alive? Pure decisions over what was heard."""

from __future__ import annotations

from typing import Final, Literal

Verdict = Literal["alive", "suspect", "lost"]
Answer = Literal["same", "other", "nobody", "silence"]

PATIENCE: Final = 1.5
"""Of the promised time, what must pass before an agent is late: networks and loops stutter."""

FLOOR: Final = 0.5
"""Seconds that a late heartbeat is granted at the least, however short the promise."""


def patience(promised: float) -> float:
    """Seconds of silence after which an agent is late that promised to be heard of within
    ``promised`` seconds."""
    return max(promised * PATIENCE, promised + FLOOR)


def judge(silence: float, promised: float) -> Verdict:
    """What ``silence`` seconds since the last heartbeat mean when the next one was promised
    within ``promised`` seconds. Late by one is suspect, by two is lost; a promise of 0 is
    none, and the lease alone decides."""
    if promised <= 0.0:
        return "alive"
    late = patience(promised)
    if silence <= late:
        return "alive"
    return "suspect" if silence <= late + promised else "lost"


def after_probe(answer: Answer, silent_probes: int, disconnected: bool) -> Verdict:
    """What a probe says. Nobody listening, or another incarnation, is proof. Silence is not,
    until it is repeated: the process may be stopped, or the link slow; or somebody watches all
    dispatch subjects, and the server cannot say that the agent itself does not. Where the
    server has said that the connection closed, once is enough."""
    match answer:
        case "same":
            return "alive"
        case "other" | "nobody":
            return "lost"
        case "silence":
            return "suspect" if silent_probes < (1 if disconnected else 2) else "lost"
