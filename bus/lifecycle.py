"""The states of a task, and the one table of the steps between them.

The names are A2A's, plus ``expired``.
"""

from __future__ import annotations

from typing import Final

from bus.errors import IllegalTransition
from bus.wire.task import TaskState

TERMINAL: Final[frozenset[TaskState]] = frozenset(
    ("completed", "failed", "canceled", "rejected", "expired")
)

STEPS: Final[dict[TaskState, frozenset[TaskState]]] = {
    "submitted": frozenset(("working", "failed", "canceled", "rejected", "expired")),
    "working": frozenset(
        ("submitted", "input-required", "completed", "failed", "canceled", "rejected", "expired")
    ),
    "input-required": frozenset(("working", "failed", "canceled", "expired")),
    "completed": frozenset(),
    "failed": frozenset(),
    "canceled": frozenset(),
    "rejected": frozenset(),
    "expired": frozenset(),
}
"""``working`` to ``submitted`` is a retry, or the loss of the agent."""


def step(state: TaskState, to: TaskState) -> TaskState:
    """Return ``to`` if a task may go there from ``state``.

    Raises:
        IllegalTransition: it may not.
    """
    if to not in STEPS[state]:
        raise IllegalTransition(state, to)
    return to
