"""What both sides of the pubsub scenario share: orders, credit, reports.

Each publisher and each subscriber is a process that takes orders on its standard input, one
JSON object a line, and answers with one. NATS drops what a subscriber cannot take, so a publisher
that simply sends as fast as it can would measure how much is dropped. Here publishers wait
when the slowest subscriber is a window behind: what is measured is the rate at which all of it
arrives. The window is large enough that nobody waits for a single message.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

import msgspec

WINDOW_BYTES: Final = 8 * 1024 * 1024
WINDOW: Final = 20_000
"""Messages and bytes that may be under way."""
BURST: Final = 64 * 1024
"""Bytes after which a publisher lets its event loop write them out."""
QUIET: Final = 5.0
"""Seconds without a message, or without credit, after which the rest counts as dropped."""


class Order(msgspec.Struct, frozen=True):
    """One run."""

    subject: str
    credit: str
    """Where subscribers say how much they have received: ``<name> <count>``."""
    size: int
    """Bytes of a payload."""
    count: int
    """Messages of all publishers together."""
    publishers: int
    subscribers: tuple[str, ...]

    @property
    def window(self) -> int:
        """Messages that may be under way."""
        return max(64, min(WINDOW, WINDOW_BYTES // self.size))

    @property
    def burst(self) -> int:
        """Messages that a publisher sends between two turns of its event loop."""
        return max(1, min(256, BURST // self.size))

    @property
    def share(self) -> int:
        """Messages of one publisher."""
        return self.count // self.publishers


class Report(msgspec.Struct, frozen=True):
    """What one process did. Times are of the machine's monotonic clock, the same for all."""

    count: int
    begun: float
    ended: float
    cpu: float
    """Seconds of processor time."""


class Credit:
    """How far a publisher may go."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._received = dict.fromkeys(order.subscribers, 0)
        self._news = asyncio.Event()
        self.limit = order.window // order.publishers

    def heard(self, data: bytes) -> None:
        """A subscriber has said how much it has received."""
        name, count = data.decode().split()
        self._received[name] = int(count)
        order = self._order
        self.limit = (min(self._received.values()) + order.window) // order.publishers
        self._news.set()

    async def more(self, sent: int) -> bool:
        """Wait until more than ``sent`` may be sent; False if nobody receives any more."""
        try:
            async with asyncio.timeout(QUIET):
                while self.limit <= sent:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True


class Tally:
    """What a subscriber has received."""

    def __init__(self, order: Order) -> None:
        self.done = asyncio.Event()
        self.count = 0
        self.every = max(1, order.window // 8)
        """Messages between two reports to the publishers."""
        self._order = order
        self._begun = time.monotonic()
        self._cpu = time.process_time()
        self._ended = self._begun

    def received(self) -> bool:
        """Another message; True if the publishers should be told."""
        self.count = count = self.count + 1
        if count == self._order.count:
            self._ended = time.monotonic()
            self.done.set()
        return count % self.every == 0

    async def report(self) -> Report:
        """When all have arrived, or nothing comes any more."""
        seen = -1
        while seen != self.count and not self.done.is_set():
            seen = self.count
            try:
                async with asyncio.timeout(QUIET):
                    await self.done.wait()
            except TimeoutError:
                self._ended = time.monotonic()
        return Report(self.count, self._begun, self._ended, time.process_time() - self._cpu)


async def order() -> Order | None:
    """The next one; None when there will be none."""
    line = await asyncio.to_thread(sys.stdin.readline)
    return msgspec.json.decode(line, type=Order) if line else None


def say(report: Report) -> None:
    """Answer."""
    print(msgspec.json.encode(report).decode(), flush=True)
