"""The consumers by which coordinators share work, declared as data.

They are of the fleet and outlive every coordinator: whoever comes first creates them.
"""

from __future__ import annotations

from typing import Any, Final

from bus.connection import ApiError, Bus
from bus.subjects import PRIORITIES, Subjects
from bus.topology import SECOND

FIRED: Final = "fired"
"""The consumer by which coordinators share what schedules have fired."""

BRIDGE: Final = "bridge"
"""The consumer by which coordinators share what things have said."""


def lane(subjects: Subjects, capability: str, priority: str, ack_wait: float) -> dict[str, Any]:
    """The configuration of one lane's durable pull consumer. Pure."""
    return {
        "durable_name": subjects.consumer(capability, priority),
        "filter_subject": subjects.lane(capability, priority),
        "ack_policy": "explicit",
        "ack_wait": int(ack_wait * SECOND),
        # Attempts are counted by us: a delivery that never reached an agent is not one.
        "max_deliver": -1,
        # Room in the fleet is what bounds the tasks in flight.
        "max_ack_pending": -1,
        "max_waiting": 512,
        # The server clears away the lanes of capabilities that nobody has offered for a day.
        "inactive_threshold": 24 * 3600 * SECOND,
    }


def shared(name: str, takes: str, gives: str, ack_wait: float) -> dict[str, Any]:
    """The configuration of a durable consumer that pushes what comes on ``takes`` to one of
    the coordinators that listen on ``gives`` in the queue group ``name``. Pure."""
    return {
        "durable_name": name,
        "filter_subject": takes,
        "deliver_subject": gives,
        "deliver_group": name,
        "ack_policy": "explicit",
        "ack_wait": int(ack_wait * SECOND),
        "max_deliver": -1,
        # The wills of so many things may wait out their grace at the same time.
        "max_ack_pending": 1000,
    }


async def ensure_lanes(bus: Bus, capability: str, ack_wait: float) -> None:
    """Create the consumers of a capability, one for each priority, if they are not there.

    Raises:
        BusError, TimeoutError: as for ``Bus.api``.
    """
    for priority in PRIORITIES:
        config = lane(bus.subjects, capability, priority, ack_wait)
        await _ensure(bus, bus.subjects.tasks_stream, config)


async def ensure_fired(bus: Bus, ack_wait: float) -> bool:
    """Create the consumer of what schedules fire, if it is not there. False if this server is
    too old for schedules.

    Raises:
        BusError, TimeoutError: as for ``Bus.api``.
    """
    subjects = bus.subjects
    try:
        config = shared(FIRED, subjects.dues, subjects.fired, ack_wait)
        await _ensure(bus, subjects.schedules_stream, config)
    except ApiError as error:
        if error.code == ApiError.NO_STREAM:
            return False
        raise
    return True


async def ensure_bridge(bus: Bus, ack_wait: float) -> None:
    """Create the consumer of what things say, if it is not there.

    Raises:
        BusError, TimeoutError: as for ``Bus.api``.
    """
    subjects = bus.subjects
    config = shared(BRIDGE, subjects.things_up, subjects.things, ack_wait)
    await _ensure(bus, subjects.things_stream, config)


async def _ensure(bus: Bus, stream: str, config: dict[str, Any]) -> None:
    await bus.api(
        f"CONSUMER.CREATE.{stream}.{config['durable_name']}.{config['filter_subject']}",
        {"stream_name": stream, "config": config},
    )
