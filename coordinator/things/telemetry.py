"""Readings of things go where those of all agents go."""

from __future__ import annotations

from bus import codec, store
from bus.subjects import TOKEN
from bus.wire import headers as h
from bus.wire.telemetry import Telemetry
from bus.wire.thing import ThingTelemetry
from coordinator.things.desk import Desk
from coordinator.things.living import Refused
from coordinator.things.word import Word


def readings_of(
    thing: str, site: str, said: ThingTelemetry, at_ms: int
) -> list[tuple[str, Telemetry]]:
    """A message id and the readings for each series. Pure.

    Raises:
        Refused: a series has a name that cannot be part of a subject.
    """
    found = []
    for series, value in said.values.items():
        if not TOKEN.fullmatch(series):
            raise Refused(f"series {series[:80]!r} is not a legal name")
        one = Telemetry(
            thing,
            series,
            said.at_ms or at_ms,
            ((0, value),),
            site,
            said.units.get(series, ""),
        )
        found.append((f"{thing}:{said.boot}:{said.seq}:{series}", one))
    return found


class Readings:
    """Stores what things measure."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_telemetry(self, word: Word, said: ThingTelemetry) -> None:
        """Some readings.

        Raises:
            Refused: a series has no legal name.
            BusError, TimeoutError: they were not stored.
        """
        desk, thing = self._desk, word.thing
        entry = desk.view.agents.get(thing)
        if entry is not None:
            site = entry.card.site
        else:
            record, _ = await desk.records.read(thing)
            if record.card is None:
                await word.ask_who(desk.bus)
                raise Refused("readings of a thing that has not announced itself")
            site = record.site
        for message_id, one in readings_of(thing, site, said, word.at_ms):
            subject = desk.bus.subjects.telemetry(site, thing, one.series)
            block = h.encode([(h.MSG_ID, message_id)])
            await store.publish(desk.bus, subject, codec.encode(one), block)
