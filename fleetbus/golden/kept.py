"""The last report of a fleet, kept on the bus as an event."""

from __future__ import annotations

from typing import Final

import msgspec

from bus import codec, store
from bus.client import Client, records
from bus.connection import Bus
from bus.errors import DecodeError, FleetError
from bus.wire.event import Event
from fleetbus.golden.bounds import bounded
from fleetbus.golden.report import Report

KIND: Final = "golden.finished"

LIMIT: Final = 256 * 1024
"""Bytes of a report on the bus; less on a server that takes little more."""


class NoReport(FleetError):
    """No report of this fleet is kept."""

    def __init__(self, fleet: str) -> None:
        super().__init__(
            f"fleet {fleet!r} has no report on golden cases: make one with 'fleetbus golden run' "
            "(the bus keeps events for some days; 7 unless set otherwise)"
        )


async def publish(client: Client, report: Report) -> None:
    """Keep ``report`` as the fleet's newest.

    Raises:
        BusError: as for ``store.publish``.
    """
    bus = client.bus
    limit = max(4096, min(LIMIT, bus.max_payload // 2))
    data = msgspec.json.decode(bounded(report, limit))
    await records.event(bus, KIND, bus.subjects.fleet, by=client.id, data=data)


async def newest(bus: Bus) -> Report:
    """The fleet's newest report.

    Raises:
        NoReport: none is kept.
        DecodeError: what is kept is none.
        TopologyMissing, TimeoutError, Disconnected: as for ``store.last``.
    """
    message = await store.last(bus, bus.subjects.events_stream, _subject(bus))
    if message is None:
        raise NoReport(bus.subjects.fleet)
    event = codec.decode(Event, message.data, KIND)
    try:
        return msgspec.convert(event.data, Report)
    except msgspec.ValidationError as problem:
        raise DecodeError(KIND, str(problem)) from None


def _subject(bus: Bus) -> str:
    return bus.subjects.event(KIND, bus.subjects.fleet)
