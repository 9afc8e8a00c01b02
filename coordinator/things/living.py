"""A thing comes, lives and goes: what each of its words makes of its record. Pure.

Each step may be done twice, by two coordinators: the second time it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec.structs import replace

from bus.errors import FleetError, InvalidName
from bus.subjects import token
from bus.wire.card import Card
from bus.wire.thing import ThingAnnounce, ThingState
from coordinator.things.record import Holding, Record, late, older, remembered

LINK: Final = ("link", "mqtt")
"""A label that every thing has, for selectors."""

BUILT_IN: Final = ("cancel", "config", "drain", "ping", "resume", "status")
"""Verbs that are answered from the record."""

MAX_NAMES: Final = 64
"""Capabilities that one thing may offer in its life."""

MAX_LABELS: Final = 32

UNSENT_MS: Final = 2000
"""After so many milliseconds a task that the device does not list is sent to it again."""


class Refused(FleetError):
    """A thing said something that it may not say. The message says what and why."""


News = Literal["joined", "returned", ""]


@dataclass(frozen=True, slots=True)
class Announced:
    """What follows from an announce; None for one that is too old."""

    news: News
    given_back: dict[str, Holding]
    """What its earlier boot held."""
    again: dict[str, Holding]
    """Held, and not known to the device."""
    twin: bool = False
    """This boot was there before the last one: two devices take turns."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What follows from a state."""

    alive: dict[str, Holding]
    """Held, and the device says so."""
    again: dict[str, Holding]
    """Held, and not known to the device."""
    overdue: dict[str, Holding]
    renew: bool
    """The registry entry is due."""


def is_thing(labels: Mapping[str, str]) -> bool:
    """Whether an agent with these labels is a thing."""
    name, value = LINK
    return labels.get(name) == value


def check(said: ThingAnnounce) -> None:
    """Return if an announce can be made a card of.

    Raises:
        Refused: a name cannot be part of a subject, or there is too much of something.
    """
    try:
        token("site", said.site)
        for one in said.capabilities:
            token("capability", one.name)
        for verb in said.commands:
            token("command", verb)
    except InvalidName as problem:
        raise Refused(str(problem)) from None
    if len(said.labels) > MAX_LABELS:
        raise Refused(f"{len(said.labels)} labels, more than {MAX_LABELS}")
    if len({one.name for one in said.capabilities}) < len(said.capabilities):
        raise Refused("it offers a capability twice")


def card_of(thing: str, said: ThingAnnounce, since_ms: int) -> Card:
    """The card of a thing that has announced itself."""
    return Card(
        agent=thing,
        incarnation=said.boot,
        site=said.site,
        labels={**said.labels, LINK[0]: LINK[1]},
        slots=said.slots,
        capabilities=said.capabilities,
        commands=tuple(sorted({*BUILT_IN, *said.commands})),
        started_ms=since_ms,
        runtime=said.version,
        idle=float(said.every),
    )


def announced(
    record: Record, thing: str, said: ThingAnnounce, sequence: int, at_ms: int
) -> tuple[Record, Announced | None]:
    """It has connected.

    Raises:
        Refused: it has offered too many different capabilities.
    """
    if older(record, sequence, at_ms):
        return record, None
    names = tuple(dict.fromkeys((*record.names, *(one.name for one in said.capabilities))))
    if len(names) > MAX_NAMES:
        raise Refused(f"it has offered {len(names)} different capabilities, more than {MAX_NAMES}")
    same = record.boot == said.boot
    given_back = {} if same else record.held
    since = record.card.started_ms if same and record.card is not None else at_ms
    again = {task: job for task, job in record.held.items() if same and task not in said.tasks}
    held = {
        task: replace(job, sent_ms=at_ms) if task in again else job
        for task, job in record.held.items()
        if same
    }
    changes: dict[str, Any] = {
        "card": card_of(thing, said, since),
        "online": True,
        "leaving": False,
        "seen": sequence,
        "seen_ms": at_ms,
        "last_ms": at_ms,
        "leased_ms": at_ms,
        "every": said.every,
        "config": said.config,
        "held": held,
        "names": names,
    }
    if not same:
        # What is counted in a heartbeat begins anew with each boot.
        fresh = Record(
            boot=said.boot,
            former=record.boot,
            past=remembered(record, given_back),
            told=record.told,
        )
        twin = said.boot == record.former
        return replace(fresh, **changes), Announced("joined", given_back, {}, twin)
    news: News = "" if record.online else "returned"
    if sequence == record.seen and since == at_ms:
        # The one that began this boot, handed out again: perhaps nobody was told of it yet.
        news = "joined"
    return replace(record, **changes), Announced(news, {}, again)


def stated(
    record: Record, said: ThingState, sequence: int, at_ms: int, lease: float
) -> tuple[Record, Stated | None]:
    """It says that it lives; None if it must announce itself first.

    Args:
        lease: seconds that registry entries last at the least.
    """
    if record.boot != said.boot or not record.online:
        return record, None
    if older(record, sequence, at_ms):
        return record, Stated({}, {}, {}, renew=False)
    overdue = {task: job for task, job in record.held.items() if 0 < job.deadline_ms <= at_ms}
    alive = {task: job for task, job in record.held.items() if task in said.tasks}
    again = {
        task: job
        for task, job in record.held.items()
        if task not in said.tasks and task not in overdue and at_ms - job.sent_ms > UNSENT_MS
    }
    every = said.every if said.every >= 1 else record.every
    renew = at_ms - record.leased_ms >= 1000 * max(lease, 3 * every) / 3
    changed = replace(
        record,
        leaving=False,
        seen=sequence,
        seen_ms=at_ms,
        last_ms=at_ms,
        leased_ms=at_ms if renew else record.leased_ms,
        every=every,
        config=said.config,
        rejected=said.rejected,
        heap=said.heap,
        heap_free=said.heap_free,
        held={
            task: replace(job, sent_ms=at_ms) if task in again else job
            for task, job in record.held.items()
        },
    )
    return changed, Stated(alive, again, overdue, renew)


def doubted(record: Record, boot: str, sequence: int, at_ms: int) -> tuple[Record, bool]:
    """Its will has come. False if that says nothing: it was heard of since, is another boot, or an
    earlier will is waiting already. One wait a thing, or those of a few that say nothing else
    would take all that may wait. The grace begins, in which it is sent nothing new."""
    if not _is_news(record, boot, sequence, at_ms) or record.leaving:
        return record, False
    return replace(record, leaving=True, seen=sequence, seen_ms=at_ms), True


def gone(
    record: Record, boot: str, sequence: int, at_ms: int
) -> tuple[Record, dict[str, Holding] | None]:
    """The grace is over, or it has said goodbye: what it held; None if it was heard of since."""
    if not _is_news(record, boot, sequence, at_ms):
        return record, None
    return _offline(replace(record, seen=sequence, seen_ms=at_ms))


def missed(record: Record, now_ms: int) -> tuple[Record, dict[str, Holding] | None]:
    """Somebody asks for it and it should have been heard of: what it held; None if it was."""
    if not record.online or not late(record, now_ms):
        return record, None
    return _offline(record)


def _is_news(record: Record, boot: str, sequence: int, at_ms: int) -> bool:
    """True if this is the thing as it is known, and its newest word."""
    return record.boot == boot and record.online and not older(record, sequence, at_ms)


def _offline(record: Record) -> tuple[Record, dict[str, Holding]]:
    changed = replace(
        record,
        online=False,
        leaving=False,
        held={},
        past=remembered(record, record.held),
    )
    return changed, record.held


def drained(record: Record, draining: bool) -> tuple[Record, bool]:
    """An operator has told it to take no more tasks, or to take them again; whether that is new."""
    if record.draining == draining:
        return record, False
    return replace(record, draining=draining), True


def told(record: Record, digest: str, at_ms: int) -> tuple[Record, None]:
    """It was sent a configuration."""
    return replace(record, told=digest, told_ms=at_ms), None
