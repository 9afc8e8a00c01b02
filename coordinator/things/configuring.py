"""Brings things the configuration that the layers on the bus make of them, as retained messages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Final

from bus import codec
from bus.background import Background
from bus.transport import Inbound
from bus.wire.thing import ThingConfig
from coordinator.things import living, mqtt
from coordinator.things.beats import EMPTY
from coordinator.things.desk import Desk
from coordinator.things.record import Record
from coordinator.things.turns import in_turns

log = logging.getLogger("fleetbus.coordinator")

AGAIN_MS: Final = 600_000
"""Milliseconds after which a configuration is sent again that a device does not report. It was sent
with QoS 1 and is retained, so this is for sessions that the server has lost; most that report none
have no use for one."""


def due(record: Record, wanted: str, now_ms: int) -> bool:
    """Whether a thing is to be sent the configuration with the hash ``wanted``. Pure."""
    if record.card is None or wanted in (record.config or EMPTY, record.rejected):
        return False
    return record.told != wanted or now_ms - record.told_ms > AGAIN_MS


class Configuring:
    """Compares what things run with what they should, when something changes and with each of
    their states."""

    def __init__(self, desk: Desk, known: Callable[[], Collection[str]]) -> None:
        """``known`` gives the ids of all things."""
        self.sent = 0
        self._desk = desk
        self._known = known
        self.background = Background(log, "things are sent their configuration later")
        """What it has begun."""
        self._dirty = False
        self._sweeping = False

    def on_change(self, message: Inbound) -> None:
        """A layer or the head has changed; the parity of this coordinator has seen it already."""
        del message
        self._dirty = True
        if not self._sweeping:
            self._sweeping = True
            self.background.spawn(self._sweep(), self._swept)

    async def heal(self, thing: str, record: Record) -> None:
        """Send a thing its configuration if it runs another.

        Raises:
            BusError, TimeoutError: it could not be sent.
        """
        desk = self._desk
        layers = desk.layers()
        if not (layers.stored or layers.head):
            return  # a bucket that is lost, or not read yet, takes nothing from anybody
        effective = desk.wanted(thing, record)
        if effective is None or not due(record, effective.hash, desk.clock.now()):
            return
        body = ThingConfig(effective.hash, effective.values, layers.commit[:12])
        size = len(codec.encode(body))
        if size > desk.most:
            if record.told != effective.hash:
                log.warning(
                    "thing %s gets no configuration: its layers make %d bytes, "
                    "and a thing takes %d",
                    thing,
                    size,
                    desk.most,
                )
        elif await mqtt.retain(desk.bus, thing, "config", body):
            self.sent += 1
        # Even then: else it would be tried with each of its states.
        await desk.records.change(
            thing, lambda old: living.told(old, effective.hash, desk.clock.now())
        )

    # the inside

    async def _sweep(self) -> None:
        while self._dirty:
            self._dirty = False
            await in_turns(self._look_at(thing) for thing in list(self._known()))
        self._sweeping = False

    def _swept(self) -> None:
        self._sweeping = False  # what was missed is healed by the next state

    async def _look_at(self, thing: str) -> None:
        record, _ = await self._desk.records.read(thing)
        await self.heal(thing, record)
