"""What exit statuses mean, and which error leads to which. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from bus.errors import (
    BusError,
    ConfigError,
    ConnectError,
    Disconnected,
    FeatureMissing,
    FleetError,
    InvalidLayer,
    InvalidName,
    InvalidPath,
    InvalidSelector,
    NoAgent,
    NoCoordinator,
    QueueFull,
    SettingsError,
    TaskRejected,
    TopologyMissing,
)


class Exit(IntEnum):
    """Exit statuses of every command."""

    OK = 0
    FAILED = 1
    """The work failed: a task, a command, a check."""
    USAGE = 2
    """An argument, option or setting is wrong."""
    UNREACHABLE = 3
    """No server there, or it has no such fleet."""
    TIMEOUT = 4
    """No answer in time."""
    REFUSED = 5
    """Not taken: queue full, nobody offers it, input rejected, configuration that breaks rules."""
    INTERRUPTED = 130
    """Ctrl-C."""
    PIPE = 141
    """Whoever read our output has gone, as after ``| head``."""


HELP: Final = (
    "Exit status: 0 done; 1 it failed; 2 wrong usage; 3 no server or no such fleet; "
    "4 no answer in time; 5 refused (queue full, no agent, bad input); 130 Ctrl-C."
)

_CODES: Final[tuple[tuple[type[Exception], Exit], ...]] = (
    (SettingsError, Exit.USAGE),
    (InvalidName, Exit.USAGE),
    (InvalidSelector, Exit.USAGE),
    (InvalidPath, Exit.USAGE),
    (InvalidLayer, Exit.USAGE),
    (ConnectError, Exit.UNREACHABLE),
    (Disconnected, Exit.UNREACHABLE),
    (TopologyMissing, Exit.UNREACHABLE),
    (FeatureMissing, Exit.UNREACHABLE),
    (QueueFull, Exit.REFUSED),
    (NoAgent, Exit.REFUSED),
    (NoCoordinator, Exit.REFUSED),
    (TaskRejected, Exit.REFUSED),
    (ConfigError, Exit.REFUSED),
    (TimeoutError, Exit.TIMEOUT),
    (BusError, Exit.FAILED),
    (FleetError, Exit.FAILED),
)


def exit_of(error: BaseException) -> Exit:
    """The status that stands for ``error``; ``FAILED`` for one that is not of ours."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return Exit.FAILED


def expected(error: BaseException) -> Exception | None:
    """The error to show without a traceback, or None if ``error`` is a bug.

    A group stands for its first member, if all of its members are expected.
    """
    if isinstance(error, BaseExceptionGroup):
        found = [expected(one) for one in error.exceptions]
        return found[0] if all(found) else None
    return error if isinstance(error, FleetError | TimeoutError) else None
