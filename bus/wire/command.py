"""Commands to agents and their replies."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ReplyState = Literal["accepted", "ok", "failed", "rejected"]


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operator's command. Each agent evaluates ``selector`` itself."""

    id: str
    verb: str
    args: dict[str, Any] = {}
    selector: str = ""
    issued_by: str = ""
    expires_ms: int = 0
    """Unix time in milliseconds after which nobody shall act on it; 0 for never."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One agent's answer. ``accepted`` says that another one will follow."""

    agent: str
    state: ReplyState
    command: str = ""
    output: Any = None
    error: str = ""
    elapsed_ms: float = 0.0
