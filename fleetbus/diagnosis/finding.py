"""What a check finds, and what is known of the fleet while it is examined."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from bus import Bus
from bus.topology import TopologySettings
from bus.wire.site import SiteRecord

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. ``fix`` says what to do where ``level`` is not ok."""

    check: str
    level: Level
    message: str
    fix: str = ""


class Patient:
    """The fleet under examination, and what earlier checks have learned of it."""

    def __init__(self, bus: Bus, settings: TopologySettings) -> None:
        self.bus = bus
        self.settings = settings
        self.level = 0
        self.jetstream = False
        self.streams: dict[str, dict[str, Any]] = {}
        self.hub: SiteRecord | None = None
        """The link to the hub, if this server is a site's."""


Check = Callable[[Patient], Awaitable[list[Finding]]]
