"""Tasks that somebody without our client has stored: each ends, and the next one is done."""

from __future__ import annotations

import pytest

from bus import store
from bus.testing import eventually
from tests.support.stage import Stage

pytestmark = pytest.mark.fault

OK = b'{"text": "odd"}'
END = b"\r\n\r\n"
FAR = b"9" * 400

POISON: dict[str, tuple[str, bytes, bytes | None]] = {
    "no-headers": ("echo.p1.raw.1", OK, None),
    "empty": ("echo.p1.raw.1", b"", None),
    "random-body": ("echo.p1.raw.1", bytes(range(256)), None),
    "deep-json": ("echo.p1.raw.1", b'{"text":' + b"[" * 50_000, None),
    "huge-number": ("echo.p1.raw.1", b'{"text": ' + FAR + b"}", None),
    "bad-deadline": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Deadline: soon" + END),
    "far-deadline": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Deadline: " + FAR + END),
    "negative-deadline": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Deadline: -5" + END),
    "bad-attempts": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Max-Attempts: x" + END),
    "many-attempts": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Max-Attempts: " + FAR + END),
    "no-attempts": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Max-Attempts: -1" + END),
    "bad-selector": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Select: a in (" + END),
    "long-selector": (
        "echo.p1.raw.1",
        OK,
        b"NATS/1.0\r\nFleet-Select: " + b"a," * 9000 + b"a" + END,
    ),
    "long-session": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Session: " + b"s" * 60_000 + END),
    "lone-line-feed": (
        "echo.p1.raw.1",
        OK,
        b"NATS/1.0\r\ntraceparent: a\nFleet-Ack: b\r\nContent-Type: x\ny\rz" + END,
    ),
    "not-utf-8": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nX: \xff\xfe\r\n\x80: y" + END),
    "long-content-type": (
        "echo.p1.raw.1",
        OK,
        b"NATS/1.0\r\nContent-Type: " + b"t" * 60_000 + END,
    ),
    "no-such-payload": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nFleet-Payload: nowhere" + END),
    "unterminated-headers": ("echo.p1.raw.1", OK, b"NATS/1.0\r\nX: y"),
    "no-header-block": ("echo.p1.raw.1", OK, b"\x00\x01 nothing of the kind \r\n"),
    "status-line": ("echo.p1.raw.1", OK, b"NATS/1.0 503 No Responders" + END),
    "pull-status": ("echo.p1.raw.1", OK, b"NATS/1.0 409 Consumer Deleted" + END),
    "blank-in-headers": ("echo.p1.raw.1", OK, b"NATS/1.0\r\n\r\nFleet-Session: x" + END),
    "long-id": (f"echo.p1.raw.{'n' * 3900}", OK, None),
    "odd-id": ("echo.p1.raw.n$%&", OK, None),
    "no-utf-8-id": ("echo.p1.raw.\udcff\udcfe", OK, None),
    "full-message": ("echo.p1.raw.1", bytes(1024 * 1024), None),
    "full-with-headers": (
        "echo.p1.raw.1",
        bytes(1024 * 1024 - 40_000),
        b"NATS/1.0\r\nX: " + b"x" * (40_000 - 20) + END,
    ),
}


@pytest.mark.parametrize("name", POISON)
async def test_an_odd_task_ends_and_the_next_is_done(stage: Stage, name: str) -> None:
    """As a result or among the dead, but once and for all."""
    rest, data, block = POISON[name]
    subject = stage.subject("task.").decode() + rest
    assert await stage.raw.publish(subject.encode("utf-8", "surrogateescape"), data, block)
    await stage.works()

    async def over() -> bool:
        return await stage.waiting() == 0

    await eventually(over, 8)
    ended = await stage.dead()
    async for message in store.scan(
        stage.client.bus,
        stage.client.bus.subjects.results_stream,
        f"fleet.{stage.fleet}.result.raw.*",
    ):
        ended.append(message.headers["Fleet-State"])
    assert ended, "it vanished"
    assert stage.ran.count("odd") <= 1
    await stage.works()
