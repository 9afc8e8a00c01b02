"""Who waits for an answer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from bus.transport import Inbound


class Expected(ABC):
    """One answer that is waited for, as ``Bus.expect`` keeps it. A class and not two callbacks,
    since one is made for each message that is stored: it is one object instead of four."""

    __slots__ = ("epoch", "until")

    until: float
    """When it counts as lost, on the monotonic clock. Set by the bus, as is ``epoch``."""
    epoch: int
    """Of the connection that the question was sent on."""

    @abstractmethod
    def on_reply(self, message: Inbound) -> None:
        """It is there, or the server's 503."""

    @abstractmethod
    def on_lost(self) -> None:
        """It did not come in time, or the connection broke and may have taken it down."""


class Answer(Expected):
    """An answer as a future, which is None if it got lost."""

    __slots__ = ("future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Inbound | None] = loop.create_future()

    def on_reply(self, message: Inbound) -> None:
        """It is there."""
        if not self.future.done():
            self.future.set_result(message)

    def on_lost(self) -> None:
        """It will not come."""
        if not self.future.done():
            self.future.set_result(None)

    def on_timeout(self) -> None:
        """It did not come in time."""
        if not self.future.done():
            self.future.set_exception(TimeoutError())
