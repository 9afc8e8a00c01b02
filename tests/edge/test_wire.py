"""The parser of the edge agent: whatever the pieces, the same messages, and bounded memory."""

from __future__ import annotations

import string
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus.wire import headers as h
from edge.errors import ProtocolError
from edge.wire import MAX_HEAD, MAX_INFO, MAX_LINE, Message, Parser, block, fields

LARGEST = 64
HEAD = block([("A", "1"), ("Fleet-Task", "me.1")])
LONG_HEAD = block([("A", "x" * MAX_HEAD)])

Seen = tuple[object, ...]


def msg(body: bytes, reply: str = "") -> bytes:
    return f"MSG a.b 7 {reply + ' ' if reply else ''}{len(body)}\r\n".encode() + body + b"\r\n"


def hmsg(head: bytes, body: bytes, reply: str = "") -> bytes:
    sizes = f"{len(head)} {len(head) + len(body)}"
    line = f"HMSG a.b 7 {reply + ' ' if reply else ''}{sizes}\r\n"
    return line.encode() + head + body + b"\r\n"


def shown(op: tuple[str, str] | Message) -> Seen:
    """What can be compared."""
    if isinstance(op, Message):
        return op.subject, op.sid, op.reply, op.head, op.body, op.size
    return op


KINDS: list[tuple[bytes, Seen]] = [
    (b'INFO {"a":1} \r\n', ("INFO", '{"a":1}')),
    (b"PING\r\n", ("PING", "")),
    (b"PONG\r\n", ("PONG", "")),
    (b"+OK\r\n", ("+OK", "")),
    (b"-ERR 'Authorization Violation'\r\n", ("-ERR", "Authorization Violation")),
    (b"ping\n", ("PING", "")),
    (b"  PING \t\r\n", ("PING", "")),
    (b"\tINFO {}\r\n", ("INFO", "{}")),
    (msg(b"hello"), ("a.b", 7, "", b"", b"hello", 5)),
    (msg(b""), ("a.b", 7, "", b"", b"", 0)),
    (msg(b"", "r.1"), ("a.b", 7, "r.1", b"", b"", 0)),
    (msg(b"a\r\nPING\r\n\r\n"), ("a.b", 7, "", b"", b"a\r\nPING\r\n\r\n", 11)),
    (msg(b"x" * LARGEST), ("a.b", 7, "", b"", b"x" * LARGEST, LARGEST)),
    (msg(b"x" * (LARGEST + 1), "r"), ("a.b", 7, "r", b"", None, LARGEST + 1)),
    (hmsg(HEAD, b"hello"), ("a.b", 7, "", HEAD, b"hello", 5)),
    (hmsg(HEAD, b"", "r.1"), ("a.b", 7, "r.1", HEAD, b"", 0)),
    (hmsg(HEAD, b"\r\n\r\n"), ("a.b", 7, "", HEAD, b"\r\n\r\n", 4)),
    (hmsg(HEAD, b"x" * (LARGEST + 1)), ("a.b", 7, "", HEAD, None, LARGEST + 1)),
    (b"msg a.b\t7   2\r\nhi\r\n", ("a.b", 7, "", b"", b"hi", 2)),
]
WHOLE = b"".join(stream for stream, _ in KINDS)
ALL = [seen for _, seen in KINDS]


def fed(stream: bytes, cuts: list[int], parser: Parser | None = None) -> list[Seen]:
    parser = parser or Parser(LARGEST)
    edges = [0, *sorted(cuts), len(stream)]
    found: list[Seen] = []
    for start, stop in pairwise(edges):
        found += map(shown, parser.feed(stream[start:stop]))
    return found


@pytest.mark.parametrize(("stream", "seen"), KINDS, ids=lambda one: repr(one)[:24])
def test_each_kind_alone_with_every_split(stream: bytes, seen: Seen) -> None:
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            assert fed(stream, [first, second]) == [seen]


def test_all_kinds_with_every_split_and_byte_by_byte() -> None:
    for cut in range(len(WHOLE) + 1):
        assert fed(WHOLE, [cut]) == ALL
    parser = Parser(LARGEST)
    assert fed(WHOLE, list(range(len(WHOLE))), parser) == ALL
    assert not parser.busy


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(KINDS) - 1), max_size=12), st.data())
def test_any_sequence_with_any_splits(order: list[int], data: st.DataObject) -> None:
    stream = b"".join(KINDS[one][0] for one in order)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    assert fed(stream, cuts) == [KINDS[one][1] for one in order]


@pytest.mark.parametrize("body", [b"", b"x", b"x" * (LARGEST + 1)])
def test_a_head_that_is_too_big_is_read_past(body: bytes) -> None:
    stream = hmsg(LONG_HEAD, body) + msg(b"next")
    expected = [("a.b", 7, "", b"", None, len(body)), ("a.b", 7, "", b"", b"next", 4)]
    for cut in [*range(40), len(LONG_HEAD), *range(len(stream) - 40, len(stream))]:
        assert fed(stream, [cut]) == expected


BAD = [
    b"HELLO\r\n",
    b"MSG\r\n",
    b"MSG a.b 7\r\n",
    b"MSG a.b x 5\r\n",
    b"MSG a.b 7 -1\r\n",
    b"MSG a.b 7 1e3\r\n",
    b"MSG a.b 7 r q 5\r\n",
    b"MSG a.b 7 \xd9\xa3\r\n",
    b"MSG a.b -7 5\r\n",
    b"HMSG a.b 7 5\r\n",
    b"HMSG a.b 7 r q 5 5\r\n",
    b"HMSG a.b 7 6 5\r\n",
    b"HMSG a.b 7 x 5\r\n",
    b"MSG a.b 7 2\r\nhello\r\n",
    b"MSG a.b 7 2\r\nhi\n\n",
    b"\xff\xfe\r\n",
    b"x" * (MAX_LINE + 1),
    b"INFO " + b"x" * MAX_INFO,
    b"MSG " + b"x" * MAX_LINE + b" 7 5\r\n",
]


@pytest.mark.parametrize("stream", BAD, ids=lambda one: repr(one)[:24])
def test_what_is_no_protocol(stream: bytes) -> None:
    for cut in {0, 1, len(stream) // 2, len(stream) - 1}:
        with pytest.raises(ProtocolError):
            fed(stream, [cut])


def test_empty_lines_are_skipped() -> None:
    assert fed(b"\r\n\nPING\r\n  \r\n", []) == [("PING", "")]


def test_an_info_of_a_large_cluster_is_read_and_other_lines_are_short() -> None:
    urls = b"x" * (MAX_INFO - 10)
    assert fed(b"INFO " + urls + b"\r\n", [5000, 20000]) == [("INFO", urls.decode())]
    with pytest.raises(ProtocolError, match="control line"):
        fed(b"-ERR " + urls + b"\r\n", [5000])


def held(parser: Parser) -> int:
    """Bytes that it keeps."""
    found = 0
    for value in vars(parser).values():
        if isinstance(value, (bytes, bytearray)):
            found += len(value)
        elif isinstance(value, Message):
            found += len(value.head) + len(value.body or b"")
    return found


def pieces() -> st.SearchStrategy[bytes]:
    """Random bytes, and what looks like the protocol."""
    numbers = st.integers(0, 10**12) | st.integers(0, 200)
    lines = st.builds(
        lambda verb, one, two: f"{verb} a.b 1 {one} {two}\r\n".encode(),
        st.sampled_from(["MSG", "HMSG", "INFO", "PING", "msg", "X"]),
        numbers,
        numbers,
    )
    kinds = st.sampled_from([stream for stream, _ in KINDS])
    return st.binary(max_size=200) | lines | kinds | st.just(b"\r\n") | st.just(b"y" * 3000)


@settings(max_examples=100, deadline=None)
@given(st.lists(pieces(), max_size=20))
@example([b"HMSG a.b 1 999999999999 999999999999\r\n"])
@example([b"MSG a.b 1 999999999999\r\n"])
@example([b"HMSG a.b 1 8193 9000000\r\n"])
def test_any_bytes_only_a_protocol_error_and_bounded_memory(stream: list[bytes]) -> None:
    parser = Parser(LARGEST)
    for piece in stream:
        try:
            for one in parser.feed(piece):
                if isinstance(one, Message):
                    assert one.body is None or len(one.body) <= LARGEST
                    assert len(one.head) <= MAX_HEAD
                    assert all(isinstance(value, str) for value in one.headers.values())
        except ProtocolError:
            break
        assert held(parser) <= max(MAX_INFO, MAX_HEAD + LARGEST + 2)


def test_what_is_read_past_costs_no_memory() -> None:
    parser = Parser(LARGEST)
    parser.feed(b"MSG a.b 1 1000000000\r\n")
    for _ in range(1000):
        assert parser.feed(b"x" * 10_000) == []
    assert held(parser) == 0
    assert sys.getsizeof(parser._held) < 200


# header blocks

BLOCKS = [
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0\r\nA: 1\r\n\r\n",
    b"NATS/1.0\r\nA:1\r\nB:\r\nC :  x y \r\n\r\n",
    b"NATS/1.0\r\nA: 1\r\nA: 2\r\na: 3\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 404 No Messages\r\nDescription: x\r\n\r\n",
    b"NATS/1.0 408\r\nStatus: 1\r\n\r\n",
    b"NATS/1.0\r\nA: x\ny\r\nB: z\r\r\n\r\n",
    b"NATS/1.0\r\nA\nB: x\r\nC\rD: y\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\nA: 1\r\n\r\n",
    b"NATS/1.0\r\n: nameless\r\n\r\n",
    b"NATS/1.0\r\nA: a:b:c\r\n\r\n",
    b"NATS/1.0\r\nA: \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\r\n\r\n",
    b"NATS/1.0",
    b"NATS/1.0\r\nA: 1",
    b"NATS/1.0\n\r\nA: 1\r\n\r\n",
]


@pytest.mark.parametrize("head", BLOCKS)
def test_header_blocks_are_read_as_everywhere_in_the_fleet(head: bytes) -> None:
    assert fields(head) == h.decode(head)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["A", ":", " ", "\r", "\n", "\r\n", "é", "b: c", "\t"])))
def test_any_header_block_in_utf8(parts: list[str]) -> None:
    head = b"NATS/1.0\r\n" + "".join(parts).encode()
    assert fields(head) == h.decode(head)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_as_headers(data: bytes) -> None:
    for head in (data, b"NATS/1.0\r\nFleet-Task: me.1\r\nX: " + data + b"\r\n\r\n"):
        for name, value in fields(head).items():
            assert "\n" not in name + value
            assert "\r" not in name + value
    assert fields(b"NATS/1.0\r\nA: 1\r\nX: \xff" + b"\r\n\r\n")["A"] == "1"


def test_blocks_are_written_as_everywhere_in_the_fleet() -> None:
    pairs = [("A", "1"), ("Fleet-Error", '{"message":"x"}'), ("B", ""), ("Ü", "ü€")]
    assert block(pairs) == h.encode(pairs)
    assert block([]) == h.encode([])
    assert fields(block(pairs)) == dict(pairs)


def forged() -> Iterator[tuple[str, str]]:
    for line in ("\r", "\n", "\r\n", "x\nFleet-State: completed"):
        yield "A", line
        yield "A" + line, "x"


@pytest.mark.parametrize("pair", list(forged()))
def test_a_line_break_would_forge_a_header(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="line break"):
        block([("Good", "x"), pair])


@given(st.lists(st.tuples(st.text(string.ascii_letters, min_size=1), st.text())))
def test_what_is_written_is_read_again(pairs: list[tuple[str, str]]) -> None:
    try:
        head = block(pairs)
    except ValueError:
        assert any(c in value for _, value in pairs for c in "\r\n") or not _utf8(pairs)
        return
    expected = {name: value.strip() for name, value in pairs}
    assert fields(head) == expected


def _utf8(pairs: list[tuple[str, str]]) -> bool:
    try:
        "".join(value for _, value in pairs).encode()
    except UnicodeEncodeError:
        return False
    return True
