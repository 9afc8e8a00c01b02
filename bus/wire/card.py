"""The agent card: what an agent says it is. It is the value of its registry entry."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

MAX_SLOTS: Final = 4096
"""Bounds are part of the protocol: a number out of them is refused where it is decoded."""

Slots = Annotated[int, msgspec.Meta(ge=1, le=MAX_SLOTS)]


class Capability(msgspec.Struct, frozen=True, omit_defaults=True):
    """A named thing that an agent can do."""

    name: str
    version: str = "0.0.0"
    description: str = ""
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    cost: float = 0.0
    """What one task is expected to cost, in the fleet's own currency."""


class Card(msgspec.Struct, frozen=True, omit_defaults=True):
    """One running agent."""

    agent: str
    incarnation: str
    site: str = "default"
    labels: dict[str, str] = {}
    slots: Slots = 1
    capabilities: tuple[Capability, ...] = ()
    commands: tuple[str, ...] = ()
    host: str = ""
    pid: int = 0
    started_ms: int = 0
    """Unix time in milliseconds."""
    runtime: str = ""
    """Name and version of the agent's software, for example ``fleetbus/0.1.0``."""
