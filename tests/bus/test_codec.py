"""Bytes to structs, and what happens when they are none."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import codec
from bus.errors import DecodeError
from bus.wire import Card, Command, CoordinatorBeat, Event, FleetPolicy, Heartbeat, Progress, Reply
from bus.wire.result import Result

KINDS = (Card, Command, CoordinatorBeat, Event, FleetPolicy, Heartbeat, Progress, Reply)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


def test_defaults_are_left_out() -> None:
    assert codec.encode(Reply("a1", "ok")) == b'{"agent":"a1","state":"ok"}'


def test_one_decoder_a_type() -> None:
    codec.decode(Reply, b'{"agent":"a1","state":"ok"}')
    first = codec._decoders[Reply]
    codec.decode(Reply, b'{"agent":"a2","state":"ok"}')
    assert codec._decoders[Reply] is first


@pytest.mark.parametrize(
    ("kind", "data", "problem"),
    [
        (Reply, b"", "Input data was truncated"),
        (Reply, b"{", "Input data was truncated"),
        (Reply, b'{"agent":"a1","state":"ok"}x', "trailing characters"),
        (Reply, b'{"agent":"a1"}', "missing required field `state`"),
        (Reply, b'{"agent":"a1","state":"maybe"}', r"Invalid enum value 'maybe' - at `\$.state`"),
        (Reply, b'{"agent":7,"state":"ok"}', r"Expected `str`, got `int` - at `\$.agent`"),
        (Reply, b'["a1","ok"]', "Expected `object`, got `array`"),
        (Reply, b"null", "Expected `object`, got `null`"),
        (Heartbeat, b'{"agent":"a","incarnation":"i","seq":1,"slots":0}', r"`\$.slots`"),
        (Heartbeat, b'{"agent":"a","incarnation":"i","seq":1,"running":-1}', r"`\$.running`"),
        (Heartbeat, b'{"agent":"a","incarnation":"i","seq":1,"accepted":{"c":"x"}}', "accepted"),
        (Card, b'{"agent":"a","incarnation":"i","capabilities":[{}]}', "field `name`"),
    ],
)
def test_the_error_names_the_type_and_the_field(kind: Any, data: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem) as raised:
        codec.decode(kind, data)
    assert raised.value.what == kind.__name__


def test_the_error_names_what_was_read() -> None:
    with pytest.raises(DecodeError, match=r"^heartbeat of a1: ") as raised:
        codec.decode(Heartbeat, b"[]", "heartbeat of a1")
    assert raised.value.what == "heartbeat of a1"


def test_a_body_that_is_too_long_is_not_read() -> None:
    with pytest.raises(DecodeError, match="more than 8388608"):
        codec.decode(Reply, b" " * (codec.MAX_BODY + 1))


def test_the_output_of_a_task_may_be_larger() -> None:
    output = codec.encode("x" * codec.MAX_BODY)
    assert len(Result("a.1", "completed", output).value(str)) == codec.MAX_BODY


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    deep = b"[" * (sys.getrecursionlimit() * 20)
    with pytest.raises(DecodeError):
        codec.decode(object, deep, "payload")


@pytest.mark.parametrize("kind", KINDS)
@given(garbage=st.binary(max_size=100))
def test_random_bytes_raise_nothing_else(kind: Any, garbage: bytes) -> None:
    with pytest.raises(DecodeError):
        codec.decode(kind, b"\xff" + garbage)


@pytest.mark.parametrize("kind", KINDS)
@given(value=JSON)
def test_any_json_is_the_struct_or_an_error(kind: Any, value: Any) -> None:
    try:
        decoded = codec.decode(kind, codec.encode(value))
    except DecodeError:
        return
    # FleetPolicy has defaults for all it holds, so an object without its fields is one.
    assert type(decoded) is kind
    assert isinstance(value, dict)
