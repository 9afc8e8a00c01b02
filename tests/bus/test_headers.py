"""Header blocks: made, extended and read as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import DecodeError
from bus.wire import headers as h

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,30}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=60).map(
    str.strip
)


def test_encode_makes_a_complete_block() -> None:
    assert h.encode([("A", "1"), ("B", "two")]) == b"NATS/1.0\r\nA: 1\r\nB: two\r\n\r\n"


def test_no_headers_are_a_block_too() -> None:
    assert h.encode([]) == b"NATS/1.0\r\n\r\n"
    assert h.decode(h.encode([])) == {}


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_what_is_encoded_is_decoded(fields: dict[str, str]) -> None:
    assert h.decode(h.encode(fields.items())) == fields


@pytest.mark.parametrize("broken", ["a\r\nFleet-Ack: forged", "a\nb", "a\rb", "\r\n"])
def test_a_line_break_cannot_forge_a_header(broken: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        h.encode([("A", broken)])
    with pytest.raises(ValueError, match="line break"):
        h.encode([(broken, "a")])
    with pytest.raises(ValueError, match="A holds a line break"):
        h.line("A", broken)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.dictionaries(NAMES, VALUES, min_size=1))
def test_extend_adds_lines(first: dict[str, str], more: dict[str, str]) -> None:
    lines = b"".join(h.line(name, value) for name, value in more.items())
    # Where a name is there twice, the last one counts.
    assert h.decode(h.extend(h.encode(first.items()), lines)) == {**first, **more}


def test_extend_makes_a_block_of_nothing() -> None:
    assert h.extend(b"", b"A: 1\r\n") == h.encode([("A", "1")])


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 404 Message Not Found\r\n\r\n", {"Status": "404"}),
        (
            b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n",
            {"Status": "408", "Nats-Pending-Messages": "3"},
        ),
        (b"NATS/1.0\r\nA:1\r\n\r\n", {"A": "1"}),
        (b"NATS/1.0\r\nA:   spaced  \r\n\r\n", {"A": "spaced"}),
        (b"NATS/1.0\r\nA: b: c\r\n\r\n", {"A": "b: c"}),
        (b"NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n", {"A": "2"}),
        (b"NATS/1.0\r\nno colon\r\nA: 1\r\n\r\n", {"A": "1"}),
        (b"NATS/1.0\r\nA: \xff\r\n\r\n", {"A": "�"}),
        (b"NATS/1.0\r\nA: 1", {"A": "1"}),
    ],
)
def test_decode_reads_what_others_write(block: bytes, fields: dict[str, str]) -> None:
    assert h.decode(block) == fields


@pytest.mark.parametrize("block", [b"", b"HTTP/1.1\r\n\r\n", b"nats/1.0\r\n\r\n", b"\xff\xfe"])
def test_what_is_no_block_is_refused(block: bytes) -> None:
    with pytest.raises(DecodeError, match=r"do not begin with NATS/1\.0"):
        h.decode(block)


@given(st.binary(max_size=200))
def test_garbage_after_the_line_never_raises(garbage: bytes) -> None:
    fields = h.decode(b"NATS/1.0" + garbage)
    assert all(isinstance(value, str) for value in fields.values())


@given(st.dictionaries(NAMES, VALUES, max_size=8), NAMES)
def test_one_value_is_found_as_if_all_were_read(fields: dict[str, str], other: str) -> None:
    block = h.encode(fields.items())
    for name in (*fields, other):
        assert h.find(block, name) == fields.get(name, "")


def test_of_several_the_last_is_found() -> None:
    block = h.encode([("Nats-Sequence", "1"), ("A", "b"), ("Nats-Sequence", "2")])
    assert h.find(block, "Nats-Sequence") == h.decode(block)["Nats-Sequence"] == "2"
    assert h.find(b"", "A") == ""
