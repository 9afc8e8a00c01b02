"""Checks: how tasks end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from bus import codec
from bus.errors import DecodeError
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from fleetbus.conformance.check import Failed, Topic, equal, holds
from fleetbus.conformance.checks.scenes import WORK
from fleetbus.conformance.given import Given
from fleetbus.conformance.record import Seen
from fleetbus.conformance.stage import Stage

TOPIC = Topic("outcome", WORK)
check = TOPIC.check

VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -7,
    12.5,
    "",
    'ünï "quoted" \\ \n 火',
    [],
    {},
    [1, ["a", {"b": None}]],
    {"deep": {"er": [1, 2, 3]}},
)


def output(result: Result) -> Any:
    """The JSON in it.

    Raises:
        Failed: it is none.
    """
    equal("Content-Type", result.content_type, h.JSON)
    try:
        return codec.decode(object, result.output)
    except DecodeError as problem:
        raise Failed("JSON as output", f"{problem}: {result.output[:100]!r}") from None


def error(result: Result) -> ErrorInfo:
    """Its Fleet-Error.

    Raises:
        Failed: it has none, or a body beside it.
    """
    equal("the body", result.output, b"")
    if result.error is None:
        raise Failed("a Fleet-Error", "none")
    return result.error


def delay(nak: Seen) -> float:
    """Seconds that a -NAK asks for.

    Raises:
        Failed: it does not say so.
    """
    try:
        asked = codec.decode(dict[str, int], nak.data.removeprefix(b"-NAK").strip())
        return asked["delay"] / 1e9
    except (DecodeError, KeyError):
        raise Failed('-NAK {"delay":<nanoseconds>}', repr(nak.data)) from None


@check("completed", "What a handler returns is the body of a result completed.", "Be an agent, 9")
async def completed(stage: Stage) -> None:
    for value in VALUES:
        given = await stage.coordinator.give("echo", {"value": value})
        equal("the output of echo", output(await given.finished("completed")), value)


@check(
    "octets",
    "A handler may return bytes, with Content-Type: application/octet-stream.",
    "Headers",
    "optional",
)
async def octets(stage: Stage) -> None:
    await stage.needs("octets")
    given = await stage.coordinator.give("octets", {"size": 1000})
    result = await given.finished("completed")
    equal("Content-Type", result.content_type, h.OCTETS)
    equal("bytes", len(result.output), 1000)


@check(
    "failed",
    "A failure for good is a result failed with message and kind, and is not tried again.",
    "Be an agent, 9",
)
async def failed(stage: Stage) -> None:
    given = await stage.coordinator.give("fail", {"message": "no such file"})
    why = error(await given.finished("failed"))
    equal("message", why.message, "no such file")
    holds(why.kind, "a kind", "an empty one")
    holds(not given.said(b"-NAK"), "no -NAK", "-NAK")


@check("error-text", "Fleet-Error is JSON in ASCII on one line, whatever the message.", "Headers")
async def error_text(stage: Stage) -> None:
    text = 'böse\r\nFleet-State: completed "火" \x00'
    given = await stage.coordinator.give("fail", {"message": text})
    seen = await given.published()
    equal("message", error(await given.finished("failed")).message, text)
    holds(seen.block.isascii(), "a header block in ASCII", seen.block)


@check(
    "error-long", "An error message of any length leaves a result that can be stored.", "Headers"
)
async def error_long(stage: Stage) -> None:
    given = await stage.coordinator.give("fail", {"message": "x" * 20_000})
    why = error(await given.finished("failed"))
    holds(why.message.startswith("x" * 100), "a message that begins as it did", why.message)


async def _rejected(given: Given, field: str | None) -> None:
    why = error(await given.finished("rejected"))
    equal("kind", why.kind, "InvalidInput")
    holds(why.message, "a message", "an empty one")
    if field is not None:
        equal("field", why.field, field)


@check("missing", "An input without a parameter is rejected, and the field is named.", "ErrorInfo")
async def missing(stage: Stage) -> None:
    await _rejected(await stage.coordinator.give("sleep", {}), "seconds")


@check(
    "unknown",
    "An input with a parameter that there is not is rejected, and the field is named.",
    "ErrorInfo",
)
async def unknown(stage: Stage) -> None:
    value = {"value": 1, "volume": 11}
    await _rejected(await stage.coordinator.give("echo", value), "volume")


@check(
    "wrong-type",
    "An input with a value of another type is rejected, and the field is named.",
    "ErrorInfo",
)
async def wrong_type(stage: Stage) -> None:
    values: tuple[Any, ...] = ("soon", None, [1], {})
    for value in values:
        given = await stage.coordinator.give("sleep", {"seconds": value})
        await _rejected(given, "seconds")
    await _rejected(await stage.coordinator.give("fail", {"message": 7}), "message")


@check("not-json", "An input that is not a JSON object is rejected.", "ErrorInfo")
async def not_json(stage: Stage) -> None:
    for body in (b'{"seconds":', b"", b"\xff\xfe\x00", b"{} {}", b"nan"):
        await _rejected(await stage.coordinator.give("sleep", body=body), None)
    for body in (b'["value"]', b'"value"', b"null"):
        await _rejected(await stage.coordinator.give("sleep", body=body), None)


@check(
    "retry",
    "A handler that asks to be tried again is answered with -NAK and a delay, without a result.",
    "Be an agent, 10",
)
async def retry(stage: Stage) -> None:
    given = await stage.coordinator.give("retry", {"times": 1})
    nak = await given.word(b"-NAK")
    holds(delay(nak) > 0, "a delay above 0", nak.data)
    again = await stage.coordinator.again(given, attempt=2)
    equal("the output, the attempt", output(await again.finished("completed")), 2)
    results = stage.record.all(stage.subjects.result(given.id), given.since)
    equal("results published", len(results), 1)


@check("backoff", "The delay grows with the attempts.", "Be an agent, 10")
async def backoff(stage: Stage) -> None:
    fields = [(h.MAX_ATTEMPTS, "9")]
    first = await stage.coordinator.give("retry", {"times": 9}, fields)
    early = delay(await first.word(b"-NAK"))
    late_one = await stage.coordinator.give("retry", {"times": 9}, fields, attempt=6)
    late = delay(await late_one.word(b"-NAK"))
    holds(late > early, f"more than {early:.3f} s after the sixth attempt", f"{late:.3f} s")


@check(
    "dead",
    "Out of attempts, a task is published to dead with its input and why, then a result failed, "
    "then +ACK.",
    "Be an agent, 10",
)
async def dead(stage: Stage) -> None:
    fields = [(h.MAX_ATTEMPTS, "2")]
    given = await stage.coordinator.give("retry", {"times": 9}, fields, attempt=2)
    subject = stage.subjects.dead("retry", given.id)
    buried = await stage.record.first("the task on its dead subject", subject, given.since)
    equal("the body, its input", codec.decode(object, buried.data), {"times": 9})
    equal("Fleet-Attempt", buried.headers.get(h.ATTEMPT), "2")
    equal("Fleet-Agent", buried.headers.get(h.AGENT), stage.agent)
    holds(buried.headers.get(h.MSG_ID), "a Nats-Msg-Id", buried.headers)
    try:
        why = msgspec.json.decode(buried.headers.get(h.ERROR, ""), type=ErrorInfo)
    except msgspec.DecodeError:
        raise Failed("a Fleet-Error", str(buried)) from None
    holds(why.message, "a message", "an empty one")
    published = await given.published()
    result = await given.finished("failed")
    equal("the result's Fleet-Attempt", result.attempt, 2)
    holds(error(result).message, "a message", "an empty one")
    acked = await given.word(b"+ACK")
    order = buried.number < published.number < acked.number
    holds(order, "dead, result, +ACK in this order", "another order")
    holds(not given.said(b"-NAK"), "no -NAK", "-NAK")


@check("default-attempts", "Without Fleet-Max-Attempts there are three attempts.", "Headers")
async def default_attempts(stage: Stage) -> None:
    second = await stage.coordinator.give("retry", {"times": 9}, attempt=2)
    await second.word(b"-NAK")
    third = await stage.coordinator.give("retry", {"times": 9}, attempt=3)
    await third.finished("failed")


@check("expired", "A task past its Fleet-Deadline is not run: expired.", "Headers")
async def expired(stage: Stage) -> None:
    past = str(time.time_ns() // 1_000_000 - 10_000)
    given = await stage.coordinator.give("steps", {"count": 1}, [(h.DEADLINE, past)])
    await given.finished("expired")
    steps = stage.record.all(stage.subjects.progress(given.id))
    holds(not steps, "no sign of a handler", [str(one) for one in steps])


@check(
    "deadline", "A handler that runs when the deadline passes is interrupted: expired.", "Headers"
)
async def deadline(stage: Stage) -> None:
    soon = str(time.time_ns() // 1_000_000 + 700)
    given = await stage.coordinator.give("sleep", {"seconds": 20}, [(h.DEADLINE, soon)])
    begun = time.monotonic()
    await stage.record.first(
        "its end",
        ">",
        given.since,
        lambda one: (
            one.subject == stage.subjects.done(given.id)
            or (one.subject == given.ack and one.data.startswith(b"-NAK"))
        ),
    )
    took = time.monotonic() - begun
    holds(took > 0.3, "not before the deadline", f"{took:.2f} s")
    if given.said(b"-NAK"):
        # By its clock there was a moment left; whoever gets it next, expires it.
        given = await stage.coordinator.again(given, [(h.DEADLINE, soon)], attempt=2)
    await given.finished("expired")


@check("usage", "What a handler used is in Fleet-Usage.", "Headers", "optional")
async def usage(stage: Stage) -> None:
    await stage.needs("usage")
    given = await stage.coordinator.give("usage", {"tokens": 812})
    result = await given.finished("completed")
    equal("Fleet-Usage", result.usage, {"tokens": 812})


@check("times", "Fleet-Queued-Ms and Fleet-Run-Ms say how long it waited and ran.", "Headers")
async def times(stage: Stage) -> None:
    data = b'{"seconds":0.3}'
    task_id = await stage.coordinator.submit("sleep", data)
    await asyncio.sleep(0.4)  # so long it waits for a coordinator
    delivery = await stage.coordinator.pull("sleep", task_id)
    given = stage.coordinator.dispatch("sleep", task_id, data, ack=delivery.reply)
    result = await given.finished("completed")
    holds(250 <= result.run_ms < 2000, "about 300 in Fleet-Run-Ms", result.run_ms)
    holds(350 <= result.queued_ms < 5000, "about 400 in Fleet-Queued-Ms", result.queued_ms)
