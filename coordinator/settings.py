"""What a coordinator may be told. Section ``coordinator`` of the settings file."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from bus.errors import SettingsError
from bus.settings import read


class CoordinatorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Profiles derive from one base; see ``PROFILES``."""

    profile: Literal["lan", "wan", "edge"] = "lan"
    min_interval: float = 1.0
    """Seconds between heartbeats in a small fleet: lower = faster loss detection without the
    server's help, more traffic."""
    max_rate: float = 1000.0
    """Heartbeats a second that the fleet may send: lower = less traffic, slower detection in
    a large fleet."""
    grace: float = 0.2
    """Seconds between a disconnect and the probe: lower = faster recovery, more tasks run
    twice because a connection only blinked."""
    probe_timeout: float = 1.0
    """Seconds that a probe waits: lower = a silent link is given up sooner."""
    refusal_wait: float = 1.0
    """Seconds that a forwarded task is kept to be forwarded again if it is refused: must be
    longer than a round trip; longer = more memory."""
    max_ask: int = 1024
    """Most tasks of one lane on order: lower = fairer between coordinators, slower."""
    max_held: int = 1000
    """Tasks of one selector kept waiting here for room before they go back to the broker."""
    pull_expires: float = 30.0
    """Seconds that an order for tasks stands."""
    http: str = ""
    """``host:port`` of /healthz, /readyz and /metrics; empty for none."""


PROFILES: Final[dict[str, dict[str, Any]]] = {
    "lan": {},
    "wan": {"grace": 1.0, "min_interval": 5.0, "probe_timeout": 3.0, "refusal_wait": 3.0},
    "edge": {
        "grace": 5.0,
        "min_interval": 15.0,
        "max_rate": 200.0,
        "probe_timeout": 10.0,
        "refusal_wait": 10.0,
    },
}
"""What each profile changes in the base."""


def load(arguments: dict[str, Any] | None = None) -> CoordinatorSettings:
    """The settings in force: arguments, environment, file, then the profile.

    Raises:
        SettingsError: naming the source, the setting and the rule.
    """
    settings, source = read(CoordinatorSettings, "coordinator", arguments)
    profile = {
        name: value for name, value in PROFILES[settings.profile].items() if name not in source
    }
    settings = msgspec.structs.replace(settings, **profile)
    if settings.http:
        host, colon, port = settings.http.rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 <= int(port) < 65536:
            raise SettingsError(source["http"], f"setting http: {settings.http!r} is not host:port")
    return settings
