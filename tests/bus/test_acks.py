"""What an ack subject says."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import Bus, consumers, store
from bus.acks import Delivery, nak, parse
from bus.errors import DecodeError
from bus.testing import eventually
from bus.transport import Inbound

STORED = 1795235811538118472


@pytest.mark.parametrize(
    ("subject", "delivery"),
    [
        (
            f"$JS.ACK.TASKS_dev.echo-p1.1.17.23.{STORED}.4",
            Delivery(delivered=1, sequence=17, stored_ns=STORED, pending=4),
        ),
        # With a JetStream domain and an account hash.
        (
            f"$JS.ACK.hub.ACCHASH.TASKS_dev.echo-p1.3.17.23.{STORED}.0",
            Delivery(delivered=3, sequence=17, stored_ns=STORED, pending=0),
        ),
        # And with the random token that servers put behind it.
        (
            f"$JS.ACK._.ACCHASH.TASKS_dev.echo-p1.2.17.23.{STORED}.9.rAnDoM",
            Delivery(delivered=2, sequence=17, stored_ns=STORED, pending=9),
        ),
    ],
)
def test_parse(subject: str, delivery: Delivery) -> None:
    assert parse(subject) == delivery


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "$JS.ACK",
        "$JS.ACK.TASKS_dev.echo-p1.1.17.23",
        f"$JS.ACK.TASKS_dev.echo-p1.one.17.23.{STORED}.4",
        f"$JS.ACK.TASKS_dev.echo-p1.1.17.23.{STORED}.many",
        f"$JS.NAK.TASKS_dev.echo-p1.1.17.23.{STORED}.4",
        f"_INBOX.ACK.TASKS_dev.echo-p1.1.17.23.{STORED}.4",
        "fleet.dev.task.echo.p1.me.1",
    ],
)
def test_what_is_no_ack_subject_is_refused(subject: str) -> None:
    with pytest.raises(DecodeError, match="ack subject") as raised:
        parse(subject)
    assert subject in str(raised.value)


@given(st.text(max_size=300))
def test_garbage_is_refused_and_shown_in_part(subject: str) -> None:
    with pytest.raises(DecodeError) as raised:
        parse(subject)
    assert len(str(raised.value)) < 3000


async def test_a_real_delivery_is_read(bus: Bus) -> None:
    """The server's own ack subject, not one that was written down once."""
    subjects = bus.subjects
    await consumers.ensure_lanes(bus, "echo", 10)
    ack = await store.publish(bus, subjects.task("echo", "p1", "me.1"), b"1")
    await store.publish(bus, subjects.task("echo", "p1", "me.2"), b"2")
    inbox = bus.nc.new_inbox()
    arrived: list[Inbound] = []
    await bus.listen(inbox, arrived.append)
    consumer = subjects.consumer("echo", "p1")
    order = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.tasks_stream}.{consumer}"
    # Not a request: what is delivered has the task's subject and not the inbox's.
    bus.send(order, b'{"batch":1}', inbox)
    message = await eventually(lambda: arrived[0] if arrived else None)
    assert message is not None
    delivery = parse(message.reply)
    assert (delivery.delivered, delivery.sequence) == (1, ack["seq"])
    assert delivery.pending == 1
    assert abs(delivery.stored_ns / 1e9 - time.time()) < 60


def test_a_delay_is_told_in_nanoseconds() -> None:
    assert nak(1.5) == b'-NAK {"delay": 1500000000}'
    assert nak(0) == b'-NAK {"delay": 0}'
