"""Checks: payloads that travel by reference."""

from __future__ import annotations

from bus import codec
from bus.payloads import HEADROOM, Payloads
from bus.wire import headers as h
from fleetbus.conformance.check import Topic, equal, holds
from fleetbus.conformance.checks.outcomes import output
from fleetbus.conformance.checks.scenes import WORK
from fleetbus.conformance.stage import Stage

TOPIC = Topic("big", WORK)
check = TOPIC.check


@check(
    "input",
    "The input of a task with Fleet-Payload is the object of that name.",
    "Headers",
    "optional",
)
async def big_input(stage: Stage) -> None:
    # Small: how it travels matters, and a small device can fetch it.
    name = await Payloads(stage.bus).put("in-suite", codec.encode({"value": "by reference"}))
    given = await stage.coordinator.give("echo", fields=[(h.PAYLOAD, name)], body=b"")
    equal("the output of echo", output(await given.finished("completed")), "by reference")


@check("missing", "An object that is not there ends in no result completed.", "Headers", "optional")
async def missing(stage: Stage) -> None:
    fields = [(h.PAYLOAD, "nobody-stored-this"), (h.MAX_ATTEMPTS, "1")]
    given = await stage.coordinator.give("echo", fields=fields, body=b"")
    await given.finished("failed", stage.timeout + 5)


@check(
    "output",
    "An output that is too big for a message is an object, and the result names it.",
    "Other names",
    "optional",
)
async def big_output(stage: Stage) -> None:
    await stage.needs("octets")
    size = stage.bus.max_payload - HEADROOM + 1
    given = await stage.coordinator.give("octets", {"size": size})
    result = await given.finished("completed", stage.timeout + 5)
    holds(result.payload, "a Fleet-Payload", f"{len(result.output)} bytes of body")
    equal("bytes of body", len(result.output), 0)
    equal("bytes of the object", len(await Payloads(stage.bus).get(result.payload)), size)
    equal("Content-Type", result.content_type, h.OCTETS)
