"""Which error leads to which exit status."""

from __future__ import annotations

import pytest

from bus import errors
from fleetbus.exits import Exit, exit_of, expected


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.SettingsError("option --x", "wrong"), Exit.USAGE),
        (errors.InvalidName("fleet", "a b"), Exit.USAGE),
        (errors.InvalidSelector("a=", 2, "no value"), Exit.USAGE),
        (errors.ConnectError("nats://x", "refused"), Exit.UNREACHABLE),
        (errors.TopologyMissing("prod"), Exit.UNREACHABLE),
        (errors.FeatureMissing("schedules", 2, 1), Exit.UNREACHABLE),
        (errors.TaskTimeout("a.1", "no result"), Exit.TIMEOUT),
        (TimeoutError("no answer"), Exit.TIMEOUT),
        (errors.QueueFull("a.1", "full"), Exit.REFUSED),
        (errors.NoAgent("a.1", "nobody"), Exit.REFUSED),
        (errors.TaskFailed("a.1", "boom"), Exit.FAILED),
        (errors.TopologyConflict("TASKS_dev", ["storage"]), Exit.FAILED),
        (errors.ServerError("no binary"), Exit.FAILED),
        (RuntimeError("a bug"), Exit.FAILED),
    ],
)
def test_status_of_an_error(error: Exception, status: Exit) -> None:
    assert exit_of(error) is status


def test_a_group_stands_for_its_first_error() -> None:
    first = errors.NoAgent("", "nobody")
    assert expected(ExceptionGroup("g", [first, TimeoutError("late")])) is first


def test_a_bug_in_a_group_is_not_hidden() -> None:
    assert expected(ExceptionGroup("g", [errors.NoAgent("", "x"), ValueError("bug")])) is None
    assert expected(ValueError("bug")) is None
