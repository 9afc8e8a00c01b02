"""The small parts: clock, flood, errands, heartbeats."""

from __future__ import annotations

import base64

import pytest

from bus.errors import DecodeError
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.card import Capability, Card
from bus.wire.thing import MAX_TASK, ThingResult, ThingTelemetry
from coordinator.things.beats import EMPTY, beat_of
from coordinator.things.clock import WINDOW, Clock
from coordinator.things.errand import Errand, Unfit
from coordinator.things.flood import Flood
from coordinator.things.living import Refused
from coordinator.things.outcome import took, unreadable
from coordinator.things.record import Holding, Record
from coordinator.things.telemetry import readings_of
from coordinator.things.turns import in_turns
from coordinator.things.word import Word

ACK = "$JS.ACK.TASKS_dev.blink-p1.1.5.5.1795235922388279528.0"


def test_the_clock_follows_the_brokers() -> None:
    steady = [5000]
    wall = [100_000]
    clock = Clock(lambda: steady[0], lambda: wall[0])
    assert clock.now() == 100_000
    clock.heard(60_000)  # from a backlog
    assert clock.now() == 60_000
    clock.heard(97_000)
    assert clock.now() == 97_000
    clock.heard(10_000)
    assert clock.now() == 97_000
    # Ours is set: that is nothing to it.
    wall[0] += 3_600_000
    assert clock.now() == 97_000
    clock.heard(97_500)
    assert clock.now() == 97_500
    # The broker's is set back: after a while that is known, too.
    for _ in range(3):
        steady[0] += WINDOW + 1
        clock.heard(steady[0] + 9000)
    assert clock.now() == steady[0] + 9000


def test_a_flood_is_cut_and_others_are_not() -> None:
    flood = Flood(rate=10, burst=5)
    assert [flood.over("mad", 0.0) for _ in range(7)] == [False] * 5 + [True] * 2
    assert not flood.over("good", 0.0)
    assert [flood.over("mad", 0.3) for _ in range(4)] == [False] * 3 + [True]


def dispatch(data: bytes = b'{"a":1}', /, **fields: str) -> Inbound:
    given = {"Task": "me.1", "Capability": "blink", "Ack": ACK, "Via": "c1", **fields}
    lines = [(f"Fleet-{k.replace('_', '-')}", v) for k, v in given.items() if v and k != "Type"]
    if "Type" in given:
        lines.append((h.CONTENT_TYPE, given["Type"]))
    return Inbound("fleet.dev.dispatch.relay-1", "_INBOX.1", data, h.encode(lines))


def test_an_errand_is_what_the_headers_say() -> None:
    errand = Errand(dispatch(Attempt="2", Deadline="1795235929000"), 1795235922400)
    assert errand.task == "me.1"
    assert errand.job == Holding(
        "blink",
        1795235922400,
        sent_ms=1795235922400,
        attempt=2,
        ack=ACK,
        via="c1",
        deadline_ms=1795235929000,
        queued_ms=11.72,
    )
    body = errand.body()
    assert (body.task, body.attempt, bytes(body.input)) == ("me.1", 2, b'{"a":1}')


@pytest.mark.parametrize(
    "fields",
    [
        {"Task": ""},
        {"Task": "me"},
        {"Ack": ""},
        {"Ack": "$JS.ACK.x"},
        {"Reply": "_INBOX.2"},
        {"Attempt": "two"},
        {"Deadline": "soon"},
        {"Capability": ""},
    ],
)
def test_a_malformed_dispatch_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(DecodeError):
        Errand(dispatch(**fields), 0)


def test_bytes_travel_as_base64() -> None:
    body = Errand(dispatch(b"\x00\xff", Type=h.OCTETS), 0).body()
    assert base64.b64decode(body.input_base64) == b"\x00\xff"
    assert body.content_type == h.OCTETS


@pytest.mark.parametrize(
    "message",
    [
        dispatch(b"{"),
        dispatch(b'{"a":1} x'),
        dispatch(b" " * (MAX_TASK + 1)),
        dispatch(b"", Payload="in-me.1"),
        dispatch(b"[" * 50_000),
    ],
)
def test_what_no_device_can_be_sent(message: Inbound) -> None:
    with pytest.raises(Unfit):
        Errand(message, 0).body()


@pytest.mark.parametrize(
    ("subject", "reply"),
    [
        ("fleet.dev.thing.relay-1.up.nonsense", ACK),
        ("fleet.dev.thing.relay-1.up", ACK),
        ("fleet.dev.thing.a b.up.state", ACK),
        ("fleet.dev.thing.relay-1.up.state", "_INBOX.1"),
    ],
)
def test_what_no_thing_says(subject: str, reply: str) -> None:
    with pytest.raises(DecodeError):
        Word(Inbound(subject, reply, b"{}", b""))


def test_a_heartbeat_is_what_the_record_says() -> None:
    card = Card("relay-1", "b1", "berlin", capabilities=(Capability("blink", "1.0.0"),), slots=2)
    record = Record(boot="b1", card=card, online=True, every=30.0, accepted={"c1": 3})
    beat = beat_of("relay-1", record, 17, "8f1d3a0c52e94b7d1c6f", 3.3, 5)
    assert (beat.seq, beat.incarnation, beat.site, beat.state) == (17, "b1", "berlin", "ready")
    assert (beat.next_in, beat.config, beat.commit) == (30.0, EMPTY, "8f1d3a0c52e9")
    assert beat.versions == {"blink": "1.0.0"}
    held = Record(boot="b1", card=card, leaving=True, every=30.0, held={"me.1": Holding("x", 1)})
    beat = beat_of("relay-1", held, 18, "", 3.3, 5)
    assert (beat.next_in, beat.running, beat.state) == (3.3, 1, "draining")


def test_readings_have_an_id_that_is_repeated_with_them() -> None:
    said = ThingTelemetry("b1", 17, {"t": 21.4, "door": True}, units={"t": "°C"})
    first, second = readings_of("relay-1", "berlin", said, 5000)
    assert (first[0], second[0]) == ("relay-1:b1:17:t", "relay-1:b1:17:door")
    assert (first[1].at_ms, first[1].readings, first[1].unit) == (5000, ((0, 21.4),), "°C")
    with pytest.raises(Refused):
        readings_of("relay-1", "berlin", ThingTelemetry("b1", 17, {"a.b": 1}), 5000)


async def test_turns_run_all_and_tell_of_those_that_failed() -> None:
    done: list[int] = []

    async def one(number: int) -> None:
        if number % 3 == 0:
            raise ValueError(str(number))
        done.append(number)

    with pytest.raises(ExceptionGroup, match="4 of them failed"):
        await in_turns((one(number) for number in range(10)), limit=2)
    assert done == [1, 2, 4, 5, 7, 8]
    with pytest.raises(ValueError, match="9"):
        await in_turns((one(number) for number in range(7, 11)), limit=2)


@pytest.mark.parametrize(
    ("data", "task"),
    [
        (b'{"task":"me.1","state":"done"}', "me.1"),
        (b'{"state":"completed","output":NaN, "task" : "me.1"}', "me.1"),
        (b'{"task":"me.1","state":"completed","output":"cut o', "me.1"),
        (b"{}", None),
        (b'{"task":"me"}', None),
        (b'{"task":"me.1.2"}', None),
        (b'{"task":["me.1"]}', None),
        (b"\xff", None),
    ],
)
def test_a_result_that_cannot_be_read_fails_its_task(data: bytes, task: str | None) -> None:
    failed = unreadable(data, DecodeError("result", "no JSON"))
    assert (None if failed is None else failed.task) == task
    if failed is not None:
        assert (failed.state, failed.retry) == ("failed", False)
        assert failed.error is not None
        assert "no JSON" in failed.error.message


@pytest.mark.parametrize(
    ("run_ms", "job", "expected"),
    [
        (52.5, Holding("x", 1000), 52.5),
        (0.0, Holding("x", 1000), 250.0),
        (0.0, Holding("x", 9000), 0.0),  # clocks are not that exact
        (0.0, None, 0.0),
        (52.5, None, 52.5),
    ],
)
def test_how_long_a_task_took(run_ms: float, job: Holding | None, expected: float) -> None:
    assert took(ThingResult("me.1", "completed", run_ms=run_ms), job, 1250) == expected
