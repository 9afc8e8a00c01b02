"""What happens inside, as values for whoever wants to count them.

The core reports each fact once, as a frozen value, to a hook. Adapters turn them into metrics
or spans; the core imports no metrics library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message from the wire could not be handled."""

    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A coordinator sent a task or call to an agent."""

    capability: str
    agent: str
    waited: float
    """Seconds that it was held here for want of room."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An agent did not take what it was sent: ``busy``, or ``gone`` when nobody listened."""

    capability: str
    agent: str
    reason: str


@dataclass(frozen=True, slots=True)
class Redelivered:
    """The broker gave a task out again."""

    capability: str
    task: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Buried:
    """A task ran out of attempts, or could not be understood."""

    capability: str
    task: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """A task's deadline passed before it ran."""

    capability: str
    task: str


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """An agent's state changed in a coordinator's view: joined, ready, suspect, lost, left."""

    agent: str
    state: str
    returned: int = 0
    """Tasks handed back to the broker because of it."""


@dataclass(frozen=True, slots=True)
class TaskRun:
    """An agent ran a task to an outcome."""

    capability: str
    task: str
    state: str
    attempt: int
    run: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ResultRefused:
    """The broker had a result for this task already."""

    task: str


Happening = (
    Dropped
    | Forwarded
    | Refused
    | Redelivered
    | Buried
    | Expired
    | AgentSeen
    | TaskRun
    | ResultRefused
)


class Hook(Protocol):
    """Is told of each happening, on the event loop: it must be quick and must not raise."""

    def on_event(self, event: Happening) -> None: ...


class NullHook:
    """Does nothing."""

    def on_event(self, event: Happening) -> None:
        """Do nothing."""
