"""What happens inside, as values for whoever wants to count them.

The core reports each fact once, as a frozen value, to a hook. Adapters turn them into metrics
or spans; the core imports no metrics library.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec


class Dropped(msgspec.Struct, frozen=True):
    """A message from the wire could not be handled."""

    subject: str
    reason: str


class Forwarded(msgspec.Struct, frozen=True):
    """A coordinator sent a task or call to an agent."""

    capability: str
    agent: str
    waited: float
    """Seconds that it was held here for want of room."""


class Refused(msgspec.Struct, frozen=True):
    """An agent did not take what it was sent: ``busy``, or ``gone`` when nobody listened."""

    capability: str
    agent: str
    reason: str


class Redelivered(msgspec.Struct, frozen=True):
    """The broker gave a task out again."""

    capability: str
    task: str
    attempts: int


class Buried(msgspec.Struct, frozen=True):
    """A task ran out of attempts, or could not be understood."""

    capability: str
    task: str
    reason: str


class Expired(msgspec.Struct, frozen=True):
    """A task's deadline passed before it ran."""

    capability: str
    task: str


class AgentSeen(msgspec.Struct, frozen=True):
    """An agent's state changed in a coordinator's view: joined, ready, suspect, lost, left."""

    agent: str
    state: str
    returned: int = 0
    """Tasks handed back to the broker because of it."""


class TaskRun(msgspec.Struct, frozen=True):
    """An agent ran a task to an outcome."""

    capability: str
    task: str
    state: str
    attempt: int
    run: float
    """Seconds."""


class ResultRefused(msgspec.Struct, frozen=True):
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
    """Does nothing. Whoever has something to tell for every task first asks whether the hook is
    ``NOBODY``, and makes no event for it."""

    def on_event(self, event: Happening) -> None:
        """Do nothing."""


NOBODY: Final[Hook] = NullHook()
