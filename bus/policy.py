"""The fleet policy: computed by coordinators, read by everybody."""

from __future__ import annotations

import math

from bus import codec, store
from bus.connection import Bus
from bus.errors import DecodeError
from bus.subjects import POLICY
from bus.wire.heartbeat import FleetPolicy


async def read(bus: Bus) -> FleetPolicy:
    """The policy in force; the defaults where nobody has written one, or wrote garbage.

    Raises:
        TopologyMissing: this fleet does not exist here.
        TimeoutError, Disconnected: as for ``Bus.request``.
    """
    subjects = bus.subjects
    message = await store.last(bus, subjects.config_stream, subjects.config_keys + POLICY)
    if message is None or not message.data:
        return FleetPolicy()
    try:
        return codec.decode(FleetPolicy, message.data, "fleet policy")
    except DecodeError as problem:
        bus.drop(subjects.config(POLICY), problem)
        return FleetPolicy()


def scaled(agents: int, min_interval: float, max_rate: float) -> tuple[float, int]:
    """``(interval in seconds, lease in seconds)`` for a fleet of this size.

    As Nomad does: the fleet's heartbeats are bounded, not each agent's. The lease outlives
    several heartbeats, because its expiry is the last of three ways to notice a loss.
    """
    interval = max(min_interval, agents / max_rate)
    return interval, max(10, math.ceil(interval * 4))
