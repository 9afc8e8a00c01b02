"""What things say, as the broker hands it out: read, bounded, passed to who deals with it.

Everything here is untrusted. What cannot be dealt with is dropped, counted, and logged once a
minute a thing; nothing that a device sends may end anything but its own message.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from bus import codec
from bus.background import Background
from bus.connection import Bus
from bus.errors import BusError, DecodeError
from bus.transport import Inbound
from bus.wire.thing import MAX_BODY, UP
from coordinator.things.clock import Clock
from coordinator.things.flood import ANNOUNCES, Flood
from coordinator.things.living import Refused
from coordinator.things.word import Word

log = logging.getLogger("fleetbus.coordinator")

AT_ONCE: Final = 64
"""Things whose messages are dealt with at the same time."""

GIVE_UP: Final = 20
"""Deliveries after which a message that nobody could deal with is dropped."""

Handler = Callable[[Word, Any], Awaitable[float | None]]
"""Deals with a message; seconds after which it is to come again, or None."""


class Inbox:
    """Takes what the broker hands to this coordinator. Those of one thing are dealt with in the
    order in which they come."""

    def __init__(self, bus: Bus, clock: Clock, handlers: dict[str, Handler]) -> None:
        """``handlers`` by kind, each for the struct that ``bus.wire.thing.UP`` has for it."""
        self.taken = 0
        self.dropped = 0
        self._bus = bus
        self._clock = clock
        self._handlers = handlers
        self._flood = Flood()
        self._announces = Flood(*ANNOUNCES)
        self._waiting: dict[str, deque[Word]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._background = Background(log, "what a thing said comes again")

    def on_message(self, message: Inbound) -> None:
        """The broker has handed out a message."""
        try:
            word = Word(message)
        except DecodeError as problem:
            self._drop(message.subject, message.reply, problem)
            return
        self.taken += 1
        if word.delivered == 1:
            self._clock.heard(word.at_ms)
        # A will that comes again was let in before.
        if word.delivered == 1 and self._too_much(word):
            self._drop(word.subject, word.reply, Refused("it says too much"))
            return
        waiting = self._waiting.get(word.thing)
        if waiting is None:
            self._waiting[word.thing] = deque([word])
            self._background.spawn(self._work(word.thing))
        else:
            waiting.append(word)

    def _too_much(self, word: Word) -> bool:
        now = time.monotonic()
        if word.kind == "announce" and self._announces.over(word.thing, now):
            return True
        return self._flood.over(word.thing, now)

    async def stop(self) -> None:
        """Return when all that was taken is dealt with."""
        await self._background.settled()

    # the inside

    async def _work(self, thing: str) -> None:
        waiting = self._waiting[thing]
        try:
            while waiting:
                async with self._turn:
                    await self._deal_with(waiting.popleft())
        finally:
            del self._waiting[thing]

    async def _deal_with(self, word: Word) -> None:
        try:
            again = await self._handlers[word.kind](word, read(word))
        except (Refused, DecodeError) as problem:
            self._drop(word.subject, word.reply, problem)
        except (BusError, TimeoutError) as problem:
            # Ours, not the thing's: the broker hands it out again.
            if word.delivered >= GIVE_UP:
                self._drop(word.subject, word.reply, problem)
            else:
                log.debug("%s comes again: %s", word.subject, problem)
        except Exception as problem:  # a bug of ours must not stop all other things
            self._drop(word.subject, word.reply, problem)
        else:
            if again is None:
                self._bus.send(word.reply, b"+ACK")
            else:
                self._bus.send(word.reply, b'-NAK {"delay": %d}' % int(again * 1e9))

    def _drop(self, subject: str, reply: str, problem: Exception) -> None:
        self.dropped += 1
        self._bus.drop(subject, problem)
        if reply:
            self._bus.send(reply, b"+TERM")


def read(word: Word) -> msgspec.Struct:
    """The body of a message. Pure.

    Raises:
        DecodeError: it is too big, or is not what its kind must be.
    """
    what = f"{word.kind} of thing {word.thing}"
    return codec.decode(UP[word.kind], word.data, what, limit=MAX_BODY[word.kind])
