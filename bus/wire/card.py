"""The agent card: what an agent says it is. It is the value of its registry entry."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from bus import codec
from bus.errors import DecodeError
from bus.subjects import TOKEN

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


def decode(data: bytes) -> Card:
    """Read a registry entry.

    Raises:
        DecodeError: it is not a card, or has a name that cannot be part of a subject.
    """
    card = codec.decode(Card, data, "agent card")
    for name in (card.agent, card.site, *(one.name for one in card.capabilities)):
        if not TOKEN.fullmatch(name):
            raise DecodeError("agent card", f"{name[:80]!r} is not a legal name")
    return card


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
    relay: str = ""
    """The site through whose link it is reached; empty for one that is on this server. Such an
    entry has no lease: the site's coordinator answers for it."""
    idle: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    """Seconds between its heartbeats while nothing happens, if these may be more than the fleet's
    interval."""
