"""The states of a task and the steps between them."""

from __future__ import annotations

from typing import get_args

import pytest

from bus.errors import IllegalTransition
from bus.lifecycle import STEPS, TERMINAL, step
from bus.wire.task import TaskState

STATES: tuple[TaskState, ...] = get_args(TaskState)


def test_the_table_knows_every_state() -> None:
    assert set(STEPS) == set(STATES)
    assert {to for steps in STEPS.values() for to in steps} <= set(STATES)


def test_terminal_states_are_those_without_a_step() -> None:
    assert {state for state, steps in STEPS.items() if not steps} == TERMINAL


def test_every_state_is_reached_and_every_one_ends() -> None:
    reached: set[TaskState] = {"submitted"}
    while more := {to for state in reached for to in STEPS[state]} - reached:
        reached |= more
    assert reached == set(STATES)
    for state in set(STATES) - TERMINAL:
        assert STEPS[state] & TERMINAL, f"{state} has no way to an end"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("to", STATES)
def test_step_takes_what_the_table_allows_and_nothing_else(state: TaskState, to: TaskState) -> None:
    if to in STEPS[state]:
        assert step(state, to) == to
    else:
        with pytest.raises(IllegalTransition) as raised:
            step(state, to)
        assert (raised.value.state, raised.value.to) == (state, to)
        assert str(raised.value) == f"a task that is {state} cannot become {to}"


@pytest.mark.parametrize(
    ("state", "to", "allowed"),
    [
        ("submitted", "working", True),
        ("submitted", "canceled", True),
        # A result says that it ran: nobody completes what nobody began.
        ("submitted", "completed", False),
        # A retry, or the loss of the agent.
        ("working", "submitted", True),
        ("working", "completed", True),
        ("completed", "canceled", False),
        ("canceled", "completed", False),
        ("failed", "submitted", False),
        ("input-required", "completed", False),
    ],
)
def test_the_steps_that_matter(state: TaskState, to: TaskState, allowed: bool) -> None:
    assert (to in STEPS[state]) is allowed
