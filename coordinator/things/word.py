"""One message of a thing, as the broker has handed it out."""

from __future__ import annotations

from typing import Final

from bus import acks
from bus.connection import Bus
from bus.errors import DecodeError
from bus.subjects import TOKEN
from bus.transport import Inbound
from bus.wire.thing import UP, ThingWho
from coordinator.things import mqtt

_TOKENS: Final = 6


class Word:
    """Who says what kind of thing, and when."""

    __slots__ = ("at_ms", "delivered", "kind", "reply", "sequence", "subject", "thing")

    def __init__(self, message: Inbound) -> None:
        """Read its subject and its delivery; not the body.

        Raises:
            DecodeError: it is not what a thing says, or was not handed out by the stream.
        """
        self.subject = message.subject
        self.reply = message.reply
        parts = message.subject.split(".")
        if len(parts) != _TOKENS or not TOKEN.fullmatch(parts[3]) or parts[5] not in UP:
            raise DecodeError("subject of a thing", f"{message.subject[:200]!r} is none")
        self.thing, self.kind = parts[3], parts[5]
        delivery = acks.parse(message.reply)
        self.delivered = delivery.delivered
        self.sequence = delivery.sequence
        self.at_ms = delivery.stored_ns // 1_000_000
        """When the broker had it, in Unix milliseconds."""

    async def ask_who(self, bus: Bus) -> None:
        """Have the device announce itself.

        Raises:
            BusError: it could not be sent.
        """
        who = ThingWho("the fleet does not know this boot")
        await mqtt.send(bus, self.thing, "who", who)
