"""Answers the NATS micro protocol, so that ``nats micro ls`` and its like see the fleet."""

from __future__ import annotations

from typing import Final

from nats.micro import add_service

from bus.connection import Bus
from bus.version import VERSION
from bus.wire.card import Card

SERVICE: Final = "fleetbus-agent"
"""All agents are instances of one service; the metadata says which is which."""


async def announce(bus: Bus, card: Card) -> None:
    """Answer ``$SRV.PING|INFO|STATS`` until the connection closes."""
    await add_service(
        bus.nc,
        name=SERVICE,
        version=VERSION,
        description=f"agent {card.agent} of fleet {bus.subjects.fleet}",
        metadata={
            "agent": card.agent,
            "fleet": bus.subjects.fleet,
            "site": card.site,
            "incarnation": card.incarnation,
        },
    )
