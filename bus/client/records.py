"""Events for tools and audit entries for auditors, as whoever acts writes them."""

from __future__ import annotations

import getpass
import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Any

from bus import codec, store
from bus.connection import Bus
from bus.wire import headers as h
from bus.wire.event import AuditEntry, Event

_STRANGE = re.compile(r"[^A-Za-z0-9_-]+")


def person() -> str:
    """Who runs this process, for the record: ``user@host``."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no variable says it, and the password file neither
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


async def event(
    bus: Bus,
    kind: str,
    subject_id: str,
    *,
    by: str = "",
    data: Mapping[str, Any] | None = None,
    unique: str = "",
) -> None:
    """Store an event.

    Args:
        unique: of several that say the same with this text the broker keeps one, for as long as
            it remembers message ids; by default each is kept, and once only.

    Raises:
        BusError: as for ``store.publish``.
    """
    one = Event(kind, subject_id, _now(), by, dict(data or {}))
    await _store(bus, bus.subjects.event(kind, subject_id), one, unique)


async def audit(
    bus: Bus,
    verb: str,
    *,
    actor: str,
    target: str = "",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Store an audit entry. Nobody can take it back.

    Raises:
        BusError: as for ``store.publish``.
    """
    one = AuditEntry(actor, verb, _now(), target, dict(data or {}))
    # ``ada@vm`` is no token; the entry itself has the actor in full.
    named = _STRANGE.sub("-", actor).strip("-")[:64] or "unknown"
    await _store(bus, bus.subjects.audit(named, verb), one)


async def _store(bus: Bus, subject: str, record: Event | AuditEntry, unique: str = "") -> None:
    # A publish is tried again when the connection breaks.
    message_id = unique or os.urandom(12).hex()
    await store.publish(bus, subject, codec.encode(record), h.encode([(h.MSG_ID, message_id)]))


def _now() -> int:
    return time.time_ns() // 1_000_000
