"""Cards, heartbeats and agents for a coordinator's view, without a network."""

from __future__ import annotations

import time
from typing import Any

from bus.client.brief import Brief
from bus.wire.heartbeat import Heartbeat
from coordinator.entry import AgentEntry
from coordinator.view import FleetView


def card(
    agent: str,
    *capabilities: str,
    incarnation: str = "i1",
    slots: int = 1,
    labels: dict[str, str] | None = None,
) -> Brief:
    """A card; it offers ``echo`` unless told otherwise."""
    return Brief(agent, incarnation, "default", labels or {}, slots, capabilities or ("echo",))


def beat(entry: AgentEntry, seq: int = 0, **fields: Any) -> Heartbeat:
    """A heartbeat of ``entry``; by default its next one, and idle."""
    values: dict[str, Any] = {"slots": entry.slots, "window": entry.window, "next_in": 1.0}
    return Heartbeat(
        agent=entry.id,
        incarnation=entry.incarnation,
        seq=seq or entry.seq + 1,
        **{**values, **fields},
    )


def forward(entry: AgentEntry) -> None:
    """What the dispatcher notes of an agent when it sends something to it."""
    entry.forwarded += 1
    entry.fresh += 1
    entry.sent_at = time.monotonic()
    entry.settle()


def agent(view: FleetView, name: str, *capabilities: str, **fields: Any) -> AgentEntry:
    """An agent in ``view`` that has just registered."""
    return view.put(card(name, *capabilities, **fields), 1)
