"""Configuration on the bus: its layers, the commit that they come from, an agent's word on it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class ConfigLayer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One layer, the value of one key of the configuration bucket."""

    values: dict[str, Any]
    """``null`` removes what an earlier layer has set."""
    selector: str = ""
    """Of a group: the agents that it is for; empty for all."""
    file: str = ""
    """Path in the repository; empty for one that was set without Git."""
    lines: dict[str, int] = {}
    """By dotted path: the line of ``file`` on which the value stands."""
    commit: str = ""
    """The last commit that changed ``file``."""
    author: str = ""
    at_ms: int = 0
    """Unix time in milliseconds of that commit, or when it was set."""
    by: str = ""
    """Who wrote it to the bus."""


class ConfigHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """The commit that all layers come from. Written last, in one batch with what it changed."""

    commit: str
    ref: str = ""
    source: str = ""
    """Path or URL of the repository, without credentials."""
    author: str = ""
    summary: str = ""
    """First line of the commit's message."""
    at_ms: int = 0
    """Unix time in milliseconds of the commit."""
    synced_ms: int = 0
    by: str = ""
    """Who wrote it to the bus."""
    rolled_back_from: str = ""
    """A commit to which no sync goes again by itself."""
    changed: tuple[str, ...] = ()
    """Layers that this sync wrote or deleted, at most a hundred of them."""
    reverted: tuple[str, ...] = ()
    """Those that somebody had edited on the bus, at most a hundred."""


class Override(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value that an operator has set on one running agent, for a time."""

    path: str
    """Dotted."""
    value: Any
    """``null`` removes what the layers have set."""
    by: str = ""
    since_ms: int = 0
    until_ms: int = 0


class Rejection(msgspec.Struct, frozen=True, omit_defaults=True):
    """A configuration that an agent would not take."""

    hash: str
    reason: str
    commit: str = ""
    at_ms: int = 0


ConfigHealth = Literal["ok", "rejected", "waiting"]
"""``waiting``: no configuration has been good since the start, so it takes no tasks."""


class ConfigReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent says of its configuration: its answer to the command ``config``."""

    hash: str
    """Of what the layers make of it, overrides left out; of the one that is in force."""
    commit: str = ""
    """Of the ``ConfigHead`` that it was made by."""
    applied_ms: int = 0
    state: ConfigHealth = "ok"
    rejected: Rejection | None = None
    overrides: tuple[Override, ...] = ()
    versions: dict[str, str] = {}
    """Version of each capability."""
