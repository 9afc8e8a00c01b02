"""Watching the bus: any topic, decoded to what it carries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

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

BUFFER: Final = 10_000
"""Messages kept for a reader that is late; after that the newest are dropped and counted."""

TOPICS: Final = {
    "hb": "heartbeats",
    "advert": "agent cards, as the registry changes",
    "task": "tasks, as clients submit them",
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


async def watch(bus: Bus, *topics: str) -> AsyncIterator[Seen]:
    """Follow topics of the fleet, all of them if none is named; endless.

    Raises:
        InvalidName: a topic cannot be a subject.
    """
    patterns = [expand(topic) for topic in topics] or [">"]
    queue: asyncio.Queue[Inbound] = asyncio.Queue()

    def on_message(message: Inbound) -> None:
        if queue.qsize() >= BUFFER:
            bus.drop(message.subject, FleetError(f"the watcher is {BUFFER} messages behind"))
        else:
            queue.put_nowait(message)

    subscriptions = [
        await bus.listen(f"{bus.subjects.root}.{pattern}", on_message) for pattern in patterns
    ]
    try:
        while True:
            message = await queue.get()
            yield read(bus.subjects.root, message)
    finally:
        for subscription in subscriptions:
            await bus.unlisten(subscription)


_KINDS: Final[dict[str, Any]] = {
    "hb": Heartbeat,
    "advert": Card,
    "progress": Progress,
    "cmd": Command,
    "event": Event,
    "audit": AuditEntry,
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
