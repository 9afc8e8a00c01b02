"""The one place that relies on how nats-server keeps MQTT.

A message that is published to a device's topic the usual way reaches it with QoS 0, and not at all
while it is away. Only what is in the server's own stream ``$MQTT_msgs`` is delivered with QoS 1 and
kept for a session that is offline; only what is in ``$MQTT_rmsgs`` is retained. Both take messages
from NATS clients too, on these subjects and with these headers, none of which the server
documents. They were found to be the same in nats-server 2.12.8, 2.14.6 and 2.15.1;
``tests/coordinator/things/test_mqtt.py`` holds the server to them with a real MQTT client.
Should a later server change them, an MQTT client behind these three functions would do.

What is sent to a topic that no session subscribes with QoS 1 is stored nowhere, and no error.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bus import codec, store
from bus.connection import ApiError, Bus
from bus.errors import TopologyMissing
from bus.wire import headers as h

MESSAGES: Final = "$MQTT.msgs."
"""Comes before the subject of a message that sessions are to get with QoS 1."""

RETAINED: Final = "$MQTT.rmsgs."
"""Comes before the subject of a retained message."""

STREAM: Final = "$MQTT_msgs"

_QOS_1: Final = h.encode([("Nmqtt-Pub", "1")])

_RETAIN_QOS_1: Final = "3"
"""The flags of a PUBLISH packet: retain, and QoS 1."""


async def send(bus: Bus, thing: str, kind: str, body: msgspec.Struct) -> bool:
    """Send to a thing with QoS 1, now or when it is back. False if this server has no MQTT
    sessions at all: nobody is there who could be told.

    Raises:
        ApiError, Disconnected: it was not stored.
    """
    subject = MESSAGES + bus.subjects.thing_down(thing, kind)
    try:
        await store.publish(bus, subject, codec.encode(body), _QOS_1)
    except TopologyMissing:
        return False
    return True


async def retain(bus: Bus, thing: str, kind: str, body: msgspec.Struct) -> bool:
    """Leave a message for a thing to find whenever it subscribes, and send it now, too.

    Raises:
        ApiError, Disconnected: it was not stored.
    """
    subject = bus.subjects.thing_down(thing, kind)
    block = h.encode(
        [
            ("Nmqtt-RTopic", subject.replace(".", "/")),
            ("Nmqtt-ROrigin", "fleetbus"),
            ("Nmqtt-RFlags", _RETAIN_QOS_1),
        ]
    )
    try:
        await store.publish(bus, RETAINED + subject, codec.encode(body), block)
    except TopologyMissing:
        return False
    return await send(bus, thing, kind, body)


async def forget(bus: Bus, thing: str) -> None:
    """Take back what waits for a thing that is gone: others do it now.

    Raises:
        BusError, TimeoutError: as for ``Bus.api``.
    """
    question: dict[str, Any] = {"filter": f"{MESSAGES}{bus.subjects.thing_downs(thing)}"}
    try:
        await bus.api(f"STREAM.PURGE.{STREAM}", question)
    except ApiError as error:
        if error.code != ApiError.NO_STREAM:
            raise
