"""What a coordinator reads of a task, and what it does not believe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import DecodeError
from bus.wire import headers as h
from coordinator.work import DEFAULT_MAX_ATTEMPTS, Work


def work(block: bytes) -> Work:
    return Work("echo", 1, "me.1", b"{}", block, ack="$JS.ACK.x", sequence=9)


def test_without_headers_it_has_the_defaults() -> None:
    found = work(b"")
    assert (found.deadline, found.max_attempts) == (0.0, DEFAULT_MAX_ATTEMPTS)
    assert (found.select, found.session, found.block) == ("", "", b"")
    assert (found.attempt, found.first, found.sequence) == (1, True, 9)


def test_what_routing_needs_is_read() -> None:
    block = h.encode(
        [
            (h.CONTENT_TYPE, h.JSON),
            (h.DEADLINE, "1700000000500"),
            (h.MAX_ATTEMPTS, "7"),
            (h.SELECT, "env=prod"),
            (h.SESSION, "s:1"),
        ]
    )
    found = work(block)
    assert (found.deadline, found.max_attempts) == (1700000000.5, 7)
    assert (found.select, found.session) == ("env=prod", "s:1")
    assert found.block == block


FORGED = [
    h.ACK,
    h.REPLY,
    h.PROBE,
    h.VIA,
    h.ATTEMPT,
    h.TASK,
    h.CAPABILITY,
    h.INCARNATION,
    h.BUSY,
]


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_forged_header_is_stripped_wherever_it_stands(name: str, place: int) -> None:
    kept = [(h.SELECT, "gpu"), ("X-Mine", f"{name}: y")]
    fields = list(kept)
    fields.insert(place, (name, "forged"))
    found = work(h.encode(fields))
    assert found.block == h.encode(kept)
    assert found.select == "gpu"


def test_all_of_several_forged_are_stripped() -> None:
    fields = [(name, "1") for name in FORGED for _ in range(2)]
    assert work(h.encode(fields)).block == h.encode([])


def test_names_that_only_begin_alike_are_kept() -> None:
    block = h.encode([("Fleet-Task-Name", "x"), ("X-Fleet-Ack", "x"), ("fleet", "Fleet-Ack:")])
    assert work(block).block == block


@pytest.mark.parametrize(
    "block",
    [
        b"NATS/1.0\r\nFleet-Deadline: soon\r\n\r\n",
        b"NATS/1.0\r\nFleet-Deadline: 1.5\r\n\r\n",
        b"NATS/1.0\r\nFleet-Deadline: \r\n\r\n",
        b"NATS/1.0\r\nFleet-Deadline: %s\r\n\r\n" % (b"9" * 400),
        b"NATS/1.0\r\nFleet-Deadline: %s\r\n\r\n" % (b"9" * 9000),
        b"NATS/1.0\r\nFleet-Max-Attempts: many\r\n\r\n",
        b"NATS/1.0\r\nFleet-Max-Attempts: \xff\r\n\r\n",
        # What an agent would read otherwise than we, or not at all.
        b"garbage",
        b"\r\nFleet-Ack: x\r\n\r\n",
        b"NATS/1.1\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0\r\nA: b",
        b"NATS/1.0\r\nA: b\r\n",
        b"NATS/1.0\r\nA: b\r\n\r\nC",
        b"NATS/1.0\r\nA: b\nFleet-Ack: x\r\n\r\n",
        b"NATS/1.0\r\nA: b\rFleet-Ack: x\r\n\r\n",
    ],
)
def test_garbage_is_refused_by_name(block: bytes) -> None:
    with pytest.raises(DecodeError, match=r"me\.1"):
        work(block)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(rest: bytes) -> None:
    for block in (rest, b"NATS/1.0\r\nFleet-Deadline: " + rest + b"\r\n\r\n"):
        try:
            found = work(block)
        except DecodeError:
            continue
        if found.block:
            # The lines that are appended for the agent are what it will read.
            told = h.decode(h.extend(found.block, h.line(h.TASK, "me.1")))
            assert told[h.TASK] == "me.1"


def test_ruling_out() -> None:
    found = work(b"")
    assert found.ruled_out is None
    found.rule_out("a")
    found.rule_out("b")
    assert found.ruled_out == {"a", "b"}
