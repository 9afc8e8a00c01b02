"""What the agent under test must be: docs/conformance.md tells people the same."""

from __future__ import annotations

from typing import Final

SLOTS: Final = 2
LABELS: Final = {"kind": "conformance"}
SITE: Final = "bench-1"
"""What FLEETBUS_SITE says."""

REQUIRED: Final = ("echo", "sleep", "fail", "retry", "steps", "limit")
"""Capabilities that every agent under test offers."""
OPTIONAL: Final = ("usage", "octets")
"""Those that a small device may leave out."""

BUILT_IN: Final = (
    "ping",
    "status",
    "drain",
    "resume",
    "stop",
    "set-log-level",
    "cancel",
    "config",
    "config-override",
    "config-clear",
)
OWN: Final = ("greet", "slow")
"""Its own commands."""

GRACE: Final = 2.0
"""Seconds that it gives running tasks when it is asked to stop."""
