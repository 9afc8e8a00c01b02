"""What things say, as the broker hands it out: read, bounded, passed to who deals with it.

Everything here is untrusted. What cannot be dealt with is dropped, counted, and logged once a
minute a thing; nothing that a device sends may end anything but its own message.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec

from bus import acks, codec
from bus.background import Background
from bus.connection import Bus
from bus.errors import BusError, DecodeError
from bus.transport import Inbound
from bus.wire.thing import MAX_BODY, UP
from coordinator.things import outcome
from coordinator.things.clock import Clock
from coordinator.things.flood import ANNOUNCES, Flood
from coordinator.things.living import Refused
from coordinator.things.word import Word

log = logging.getLogger("fleetbus.coordinator")

AT_ONCE: Final = 64
"""Things whose messages are dealt with at the same time."""

GIVE_UP: Final = 20
"""Deliveries after which a message that nobody could deal with is dropped."""

UNKNOWN: Final = "unknown"
"""Stands for the kind of what has none."""

Reason = Literal["malformed", "too-big", "flood", "not-allowed", "not-stored", "bug"]
"""Why a message was dropped. ``not-stored``: the broker would not, 20 times; ``bug``: of ours."""

Handler = Callable[[Word, Any], Awaitable[float | None]]
"""Deals with a message; seconds after which it is to come again, or None."""


class Inbox:
    """Takes what the broker hands to this coordinator. Those of one thing are dealt with in the
    order in which they come."""

    def __init__(self, bus: Bus, clock: Clock, handlers: dict[str, Handler]) -> None:
        """``handlers`` by kind, each for the struct that ``bus.wire.thing.UP`` has for it."""
        self.taken: Counter[str] = Counter()
        """Messages by kind, with those that were handed out again."""
        self.refused: Counter[tuple[str, Reason]] = Counter()
        """Messages that were dropped, by kind and reason."""
        self._bus = bus
        self._clock = clock
        self._handlers = handlers
        self._flood = Flood()
        self._announces = Flood(*ANNOUNCES)
        self._waiting: dict[str, deque[tuple[Word, msgspec.Struct]]] = {}
        self._in_hand: set[int] = set()
        """Stream sequences of what waits here or is dealt with."""
        self._turn = asyncio.Semaphore(AT_ONCE)
        self.background = Background(log, "what a thing said comes again")
        """What it has begun."""

    @property
    def dropped(self) -> int:
        """Messages that were dropped."""
        return self.refused.total()

    def on_message(self, message: Inbound) -> None:
        """The broker has handed out a message."""
        try:
            word = Word(message)
        except DecodeError as problem:
            self._drop(UNKNOWN, "malformed", message, problem)
            return
        if word.sequence in self._in_hand:
            # Handed out again before its turn has come: a slow broker must not fill the memory.
            return
        self.taken[word.kind] += 1
        if word.delivered == 1:
            self._clock.heard(word.at_ms)
            # A will that comes again was let in before.
            if self._too_much(word):
                self._drop(word.kind, "flood", word, Refused("it says too much"))
                return
        # Before it waits: too many that are too big would fill the memory.
        try:
            said = read(word, message.data)
        except DecodeError as problem:
            big = len(message.data) > MAX_BODY[word.kind]
            self._drop(word.kind, "too-big" if big else "malformed", word, problem)
            return
        self._in_hand.add(word.sequence)
        waiting = self._waiting.get(word.thing)
        if waiting is None:
            self._waiting[word.thing] = deque([(word, said)])
            self.background.spawn(self._work(word.thing))
        else:
            waiting.append((word, said))

    def _too_much(self, word: Word) -> bool:
        now = time.monotonic()
        if word.kind == "announce" and self._announces.over(word.thing, now):
            return True
        return self._flood.over(word.thing, now)

    # the inside

    async def _work(self, thing: str) -> None:
        waiting = self._waiting[thing]
        try:
            while waiting:
                word, said = waiting[0]
                async with self._turn:
                    await self._deal_with(word, said)
                waiting.popleft()
                self._in_hand.discard(word.sequence)
        finally:
            del self._waiting[thing]
            # What is left comes again.
            self._in_hand.difference_update(word.sequence for word, _ in waiting)

    async def _deal_with(self, word: Word, said: msgspec.Struct) -> None:
        try:
            again = await self._handlers[word.kind](word, said)
        except Refused as problem:
            self._drop(word.kind, "not-allowed", word, problem)
        except DecodeError as problem:
            self._drop(word.kind, "malformed", word, problem)
        except (BusError, TimeoutError) as problem:
            # Ours, not the thing's: the broker hands it out again.
            if word.delivered >= GIVE_UP:
                self._drop(word.kind, "not-stored", word, problem)
            else:
                log.debug("%s comes again: %s", word.subject, problem)
        except Exception as problem:  # a bug of ours must not stop all other things
            self._drop(word.kind, "bug", word, problem)
        else:
            if again is None:
                self._bus.send(word.reply, b"+ACK")
            else:
                self._bus.send(word.reply, acks.nak(again))

    def _drop(self, kind: str, reason: Reason, said: Inbound | Word, problem: Exception) -> None:
        self.refused[kind, reason] += 1
        self._bus.drop(said.subject, problem)
        if said.reply:
            self._bus.send(said.reply, b"+TERM")


def read(word: Word, data: bytes) -> msgspec.Struct:
    """The body of a message. Pure.

    A result that cannot be read ends its task, as far as it can be told which: the device would say
    it again for ever, and go on to list the task in its states.

    Raises:
        DecodeError: it is too big, or is not what its kind must be.
    """
    what = f"{word.kind} of thing {word.thing}"
    try:
        return codec.decode(UP[word.kind], data, what, limit=MAX_BODY[word.kind])
    except DecodeError as problem:
        if word.kind == "result" and (failed := outcome.unreadable(data, problem)) is not None:
            return failed
        raise
