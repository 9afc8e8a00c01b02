"""Readings of sensors, and whatever else an agent measures."""

from __future__ import annotations

from typing import Any

import msgspec


class Telemetry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some readings of one series, the oldest first."""

    agent: str
    series: str
    at_ms: int
    """When the first was taken, in Unix milliseconds by the broker's clock where the agent knows
    it."""
    readings: tuple[tuple[int, Any], ...]
    """Of each the milliseconds since ``at_ms``, and the value."""
    site: str = "default"
    unit: str = ""
