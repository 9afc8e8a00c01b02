"""The heartbeat: liveness and load in one message."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bus.wire.card import Slots

Count = Annotated[int, msgspec.Meta(ge=0)]
Window = Annotated[int, msgspec.Meta(ge=0, le=16_384)]
Promise = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
"""Seconds."""

State = Literal["ready", "draining", "stopped"]


class Heartbeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sent every interval, and at once when the load changes enough to matter."""

    agent: str
    incarnation: str
    seq: int
    """Counts up from 1 within an incarnation; an older one that arrives late is dropped."""
    site: str = "default"
    state: State = "ready"
    slots: Slots = 1
    window: Window = 1
    """Most tasks that the agent will hold, running and queued."""
    running: Count = 0
    queued: Count = 0
    done: Count = 0
    failed: Count = 0
    accepted: dict[str, Count] = {}
    """Tasks taken since the start, by the coordinator that sent them."""
    service_ms: dict[str, float] = {}
    """Typical run time of each capability: a moving geometric mean of the runs that completed,
    which a few tasks that take a hundred times longer hardly move."""
    failing: dict[str, float] = {}
    """Failures of late by capability: each counts one, and each run that completes takes a
    tenth off. Coordinators send tasks elsewhere if they can."""
    cpu: float = 0.0
    """Share of one core that the process used since the last heartbeat, 1.0 for all of it."""
    rss: int = 0
    """Resident bytes of the process."""
    heap: Count = 0
    """Bytes of heap in use, of an agent that has no process: one on MicroPython."""
    heap_free: Count = 0
    heap_peak: Count = 0
    """The most bytes that were in use at a heartbeat."""
    spooled: Count = 0
    """Results and readings that wait on the agent for the link."""
    dropped: Count = 0
    """Readings that it has dropped since the start, because they could not be kept."""
    config: str = ""
    """Hash of the configuration in force, overrides left out; empty while there is none."""
    commit: str = ""
    """The first 12 digits of the commit that it comes from; empty without Git."""
    overrides: Count = 0
    """Values that operators have set on this process for a time."""
    rejected: str = ""
    """Hash of a newer configuration that the agent would not take."""
    versions: dict[str, str] = {}
    """Version of each capability."""
    version: str = ""
    """Of the runtime."""
    next_in: Promise = 0.0
    """Seconds until the next heartbeat at the latest; 0 says that there will be none."""
    interval: float = 0.0
    sent_ms: int = 0
    """Unix time in milliseconds on the agent's clock."""


class CoordinatorBeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """A coordinator says that it is there, so that several share the fleet's free room."""

    coordinator: str
    next_in: Promise
    host: str = ""
    pid: int = 0
    started_ms: int = 0
    agents: int = 0
    held: int = 0
    forwarded: int = 0
    leaving: bool = False


class FleetPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Numbers that all must agree on; kept in the configuration bucket, key ``policy``."""

    interval: Annotated[float, msgspec.Meta(ge=0.05, le=86_400)] = 1.0
    """Seconds between heartbeats of one agent whose load does not change."""
    lease: Annotated[int, msgspec.Meta(ge=1, le=604_800)] = 10
    """Whole seconds until the broker expires a registry entry that is not refreshed."""
    grace: Promise = 0.2
    """Seconds between a disconnect and the probe that decides."""
    ack_wait: Annotated[float, msgspec.Meta(ge=0.1, le=86_400)] = 10.0
    """Seconds until the broker gives out a task again that nobody has acknowledged."""
    agents: int = 0
    """The fleet's size that this was computed for."""
