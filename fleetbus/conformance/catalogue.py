"""All checks, in the order in which they are listed."""

from __future__ import annotations

from typing import Final

from fleetbus.conformance.check import Check
from fleetbus.conformance.checks import (
    acks,
    big,
    calls,
    cancel,
    commands,
    configuration,
    dispatch,
    drain,
    garbage,
    heartbeats,
    joining,
    lease,
    leaving,
    outcomes,
    overrides,
    progress,
    reconnecting,
)

_TOPICS: Final = (
    joining,
    lease,
    heartbeats,
    dispatch,
    acks,
    outcomes,
    calls,
    progress,
    big,
    cancel,
    commands,
    configuration,
    overrides,
    drain,
    leaving,
    reconnecting,
    garbage,
)

CHECKS: Final[tuple[Check, ...]] = tuple(
    check for module in _TOPICS for check in module.TOPIC.checks
)


def chosen(text: str) -> list[Check]:
    """The checks whose id has one of the words of ``text`` in it; all if it is empty."""
    words = text.split()
    return [one for one in CHECKS if not words or any(word in one.id for word in words)]
