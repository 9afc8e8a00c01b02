"""Results as messages: what is written is read, in one look or header by header."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import DecodeError
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo

USUAL = Result("me.1", "completed", b"1", h.OCTETS, "a1", 1, queued_ms=1.5, run_ms=0.25)
ANNOUNCED = b"Nats-Stream: RESULTS_dev\r\nNats-Sequence: 7\r\n"
MS = st.integers(0, 10**9).map(lambda number: number / 1000)


@given(
    st.builds(
        Result,
        task=st.just("me.1"),
        state=st.sampled_from(("completed", "failed", "canceled")),
        output=st.binary(max_size=8),
        content_type=st.sampled_from((h.JSON, h.OCTETS, "text/plain")),
        agent=st.sampled_from(("", "a1", "a-b_C")),
        attempt=st.integers(0, 1000),
        error=st.none() | st.just(ErrorInfo("no", "ValueError")),
        queued_ms=MS,
        run_ms=MS,
        usage=st.sampled_from(({}, {"tokens": 3})),
        payload=st.sampled_from(("", "out-me.1-7")),
    ),
    st.booleans(),
)
def test_what_is_written_is_read(result: Result, once: bool) -> None:
    block = h.extend(results.encode(result, once), ANNOUNCED)
    assert results.read("me.1", block, result.output) == result


@pytest.mark.parametrize(
    "line",
    [
        "Fleet-Error: {}",
        "Fleet-State: failed",
        "Content-Type: text/plain",
        'Fleet-Usage: {"x":1}',
        "Fleet-Payload: out",
        "Fleet-Attempt: x",
        "X-Own: 1",
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_usual_result_with_one_more_header_is_read_header_by_header(
    line: str, before: bool
) -> None:
    usual = results.encode(USUAL, once=True)
    more = f"{line}\r\n".encode()
    start = b"NATS/1.0\r\n"
    block = start + more + usual.removeprefix(start) if before else h.extend(usual, more)

    def outcome(read: Callable[[], Result]) -> Result | str:
        try:
            return read()
        except DecodeError as problem:
            return str(problem)

    whole = outcome(lambda: results.read("me.1", block, b"1"))
    assert whole == outcome(lambda: results.decode("me.1", h.decode(block), b"1"))
    # Of two with one name the last counts.
    assert whole != USUAL or before or line.startswith("X-Own")


@pytest.mark.parametrize("block", [b"", b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\nFleet-State: x\r\n\r\n"])
def test_what_is_no_result_is_refused(block: bytes) -> None:
    with pytest.raises(DecodeError):
        results.read("me.1", block, b"")
