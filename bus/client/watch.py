"""Watching the bus: any topic, decoded to what it carries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from nats.aio.subscription import Subscription

from bus import codec
from bus.connection import Bus
from bus.errors import DecodeError, FleetError, InvalidName
from bus.transport import Inbound
from bus.wire import result as results
from bus.wire.card import Card
from bus.wire.command import Command
from bus.wire.event import AuditEntry, Event
from bus.wire.heartbeat import CoordinatorBeat, Heartbeat
from bus.wire.task import Progress
from bus.wire.telemetry import Telemetry

BUFFER: Final = 10_000
"""Messages kept for a reader that is late; after that the newest are dropped and counted."""

TOPICS: Final = {
    "hb": "heartbeats",
    "advert": "agent cards, as the registry changes",
    "task": "tasks, as clients submit them",
    "schedule": "schedules, as clients set them",
    "call": "calls",
    "dispatch": "what coordinators send to agents",
    "done": "results, once stored",
    "result": "results, as agents publish them",
    "progress": "progress of running tasks",
    "cancel": "cancellations",
    "cmd": "commands",
    "config": "configuration changes",
    "event": "events",
    "dead": "tasks that ran out of attempts",
    "audit": "audit entries",
    "telemetry": "readings of sensors",
    "coordinator": "coordinators' announcements",
    "attempt": "markers of further attempts",
}
"""First token of each topic, and what it carries."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One message. ``value`` is a Struct of ``bus.wire`` where the topic has one, else JSON,
    text or bytes, whatever can be made of it; ``problem`` says why it could not be decoded."""

    at: float
    """Unix time of arrival."""
    topic: str
    """The subject without ``fleet.<fleet>.``."""
    value: Any
    headers: dict[str, str]
    problem: str = ""


HARMLESS: Final = tuple(topic for topic in TOPICS if topic not in ("dispatch", "call"))
"""What is watched unless something is asked for. Whoever listens to ``dispatch.*`` or
``call.*`` is a listener as far as the server knows: it then no longer tells at once that an
agent, or every coordinator, is gone."""


def expand(topic: str) -> str:
    """A topic as a person writes it to a pattern: ``hb`` means ``hb.>``.

    Raises:
        InvalidName: it holds blanks, empty tokens, or a wildcard where none may stand.
    """
    tokens = topic.split(".")
    for index, one in enumerate(tokens):
        bad = (
            not one
            or any(c.isspace() for c in one)
            or (len(one) > 1 and any(c in "*>" for c in one))
            or (one == ">" and index != len(tokens) - 1)
        )
        if bad:
            raise InvalidName("topic", topic)
    if len(tokens) == 1 and topic in TOPICS:
        return f"{topic}.>"
    return topic


def fewest(patterns: Iterable[str]) -> list[str]:
    """The patterns without those that another one covers: each message is wanted once. Pure."""
    kept: list[str] = []
    for one in patterns:
        if not any(_covers(other, one) for other in kept):
            kept = [other for other in kept if not _covers(one, other)] + [one]
    return kept


def _covers(wide: str, narrow: str) -> bool:
    """True if every subject that matches ``narrow`` matches ``wide``."""
    wides, narrows = wide.split("."), narrow.split(".")
    for index, one in enumerate(wides):
        if one == ">":
            return len(narrows) > index
        if index >= len(narrows) or narrows[index] == ">":
            return False
        if one not in ("*", narrows[index]):
            return False
    return len(wides) == len(narrows)


class Watch:
    """Follows topics while it is entered; iterate for the messages, endlessly.

    ::

        async with Watch(bus, "event", "hb.berlin.*") as watch:
            async for seen in watch: ...

    Args:
        bus: an open connection.
        topics: all of the fleet's but ``dispatch`` and ``call`` if none is named. A message that
            several match comes once, unless their patterns only overlap.

    Raises:
        InvalidName: a topic cannot be a subject.
    """

    def __init__(self, bus: Bus, *topics: str) -> None:
        self.missed = 0
        """Messages that came faster than they were read."""
        self._bus = bus
        self._patterns = fewest(expand(topic) for topic in topics or HARMLESS)
        self._queue: asyncio.Queue[Inbound] = asyncio.Queue()
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> Self:
        """Subscribe; what is published after this is seen."""
        try:
            for pattern in self._patterns:
                subject = f"{self._bus.subjects.root}.{pattern}"
                self._subscriptions.append(await self._bus.listen(subject, self._on_message))
            await self._bus.flush()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave()

    async def __aiter__(self) -> AsyncIterator[Seen]:
        while True:
            yield read(self._bus.subjects.root, await self._queue.get())

    def _on_message(self, message: Inbound) -> None:
        if self._queue.qsize() >= BUFFER:
            self.missed += 1
            self._bus.drop(message.subject, FleetError(f"the watcher is {BUFFER} messages behind"))
        else:
            self._queue.put_nowait(message)

    async def _leave(self) -> None:
        for subscription in self._subscriptions:
            await self._bus.unlisten(subscription)
        self._subscriptions.clear()


async def watch(bus: Bus, *topics: str) -> AsyncIterator[Seen]:
    """Follow topics of the fleet, all of them if none is named; endless. See ``Watch``.

    Raises:
        InvalidName: a topic cannot be a subject.
    """
    async with Watch(bus, *topics) as watched:
        async for seen in watched:
            yield seen


_KINDS: Final[dict[str, Any]] = {
    "hb": Heartbeat,
    "advert": Card,
    "progress": Progress,
    "cmd": Command,
    "event": Event,
    "audit": AuditEntry,
    "telemetry": Telemetry,
    "coordinator": CoordinatorBeat,
}


def read(root: str, message: Inbound) -> Seen:
    """Decode one message as far as it can be. Never raises."""
    topic = message.subject[len(root) + 1 :]
    kind = topic.partition(".")[0]
    problem = ""
    headers: dict[str, str] = {}
    value: Any
    try:
        headers = message.headers
        if kind in ("done", "result"):
            value = results.decode(topic.partition(".")[2], headers, message.data)
        elif kind in _KINDS and message.data:
            value = codec.decode(_KINDS[kind], message.data, kind)
        else:
            value = _guess(message.data)
    except DecodeError as error:
        problem = str(error)
        value = _guess(message.data)
    return Seen(time.time(), topic, value, headers, problem)


def _guess(data: bytes) -> Any:
    if not data:
        return None
    try:
        return codec.decode(object, data, "payload")
    except DecodeError:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
