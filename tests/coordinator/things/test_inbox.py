"""What is let in and what is not, and why: on a real connection, without devices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus import Bus
from bus.errors import BusError
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire.thing import MAX_BODY
from coordinator.things.clock import Clock
from coordinator.things.inbox import GIVE_UP, Inbox
from coordinator.things.living import Refused
from coordinator.things.word import Word


def said(
    kind: str = "state", data: bytes = b'{"boot":"b"}', *, sequence: int = 1, delivered: int = 1
) -> Inbound:
    """As the broker hands it out."""
    reply = f"$JS.ACK.THINGS_dev.bridge.{delivered}.{sequence}.1.1795235922388279528.0"
    return Inbound(f"fleet.dev.thing.relay-1.up.{kind}", reply, data, b"")


class Desk:
    """Notes what it is given; ``open`` lets it go on."""

    def __init__(self, bus: Bus, problem: Exception | None = None) -> None:
        self.seen: list[int] = []
        self.open = asyncio.Event()
        self.inbox = Inbox(bus, Clock(), {"state": self._take, "telemetry": self._take})
        self._problem = problem

    async def _take(self, word: Word, _: Any) -> None:
        self.seen.append(word.sequence)
        await self.open.wait()
        if self._problem is not None:
            raise self._problem


async def test_what_is_handed_out_again_before_its_turn_is_dealt_with_once(bus: Bus) -> None:
    desk = Desk(bus)
    for delivered in (1, 2, 3):
        for sequence in (1, 2):
            desk.inbox.on_message(said(sequence=sequence, delivered=delivered))
    await eventually(lambda: desk.seen)
    desk.open.set()
    await desk.inbox.background.settled()
    assert desk.seen == [1, 2]
    # After that it is new: its ack has got lost, or it was to come again.
    desk.inbox.on_message(said(sequence=2, delivered=4))
    await desk.inbox.background.settled()
    assert desk.seen == [1, 2, 2]


async def test_what_is_too_big_does_not_wait(bus: Bus) -> None:
    desk = Desk(bus)
    desk.inbox.on_message(said())
    await eventually(lambda: desk.seen)
    desk.inbox.on_message(said(data=b" " * (MAX_BODY["state"] + 1), sequence=2))
    assert desk.inbox.refused == {("state", "too-big"): 1}
    desk.open.set()
    await desk.inbox.background.settled()
    assert desk.seen == [1]


@pytest.mark.parametrize(
    ("message", "problem", "reason"),
    [
        (said("nonsense"), None, ("unknown", "malformed")),
        (said(data=b"{"), None, ("state", "malformed")),
        (said("telemetry", b"{}"), None, ("telemetry", "malformed")),
        (said(), Refused("no"), ("state", "not-allowed")),
        (said(delivered=GIVE_UP), BusError("no room"), ("state", "not-stored")),
        (said(), ArithmeticError("a bug"), ("state", "bug")),
    ],
)
async def test_what_is_dropped_is_counted_by_reason(
    bus: Bus, message: Inbound, problem: Exception | None, reason: tuple[str, str]
) -> None:
    ended: list[bytes] = []
    await bus.listen(message.reply, lambda ack: ended.append(ack.data))
    desk = Desk(bus, problem)
    desk.open.set()
    desk.inbox.on_message(message)
    await desk.inbox.background.settled()
    assert desk.inbox.refused == {reason: 1}
    assert desk.inbox.dropped == bus.dropped == 1
    await eventually(lambda: ended == [b"+TERM"])


async def test_trouble_of_the_brokers_drops_nothing(bus: Bus) -> None:
    desk = Desk(bus, BusError("no room"))
    desk.open.set()
    for delivered in range(1, GIVE_UP):
        desk.inbox.on_message(said(delivered=delivered))
        await desk.inbox.background.settled()
    assert len(desk.seen) == GIVE_UP - 1
    assert desk.inbox.dropped == 0


async def test_a_flood_is_counted(bus: Bus) -> None:
    desk = Desk(bus)
    desk.open.set()
    for sequence in range(300):
        desk.inbox.on_message(said(sequence=sequence))
    await desk.inbox.background.settled()
    assert list(desk.inbox.refused) == [("state", "flood")]
    assert 50 <= desk.inbox.dropped <= 100
    assert desk.inbox.taken["state"] == 300
