"""Records of what happened: events for tools, audit entries for auditors."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something happened to ``subject_id``."""

    kind: str
    subject_id: str
    at_ms: int
    by: str = ""
    data: dict[str, Any] = {}


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody did something."""

    actor: str
    verb: str
    at_ms: int
    target: str = ""
    data: dict[str, Any] = {}
