"""Checks: calls, which are answered and not stored."""

from __future__ import annotations

import time

from bus.wire import headers as h
from fleetbus.conformance.check import Topic, equal, holds
from fleetbus.conformance.checks.outcomes import error, output
from fleetbus.conformance.checks.scenes import WORK
from fleetbus.conformance.given import Given
from fleetbus.conformance.stage import Stage

TOPIC = Topic("call", WORK)
check = TOPIC.check


def _unstored(stage: Stage, call: Given) -> None:
    subjects = stage.subjects
    for subject in (
        subjects.result(call.id),
        subjects.attempt(call.id),
        subjects.dead(call.capability, call.id),
    ):
        stored = stage.record.all(subject)
        holds(not stored, f"nothing on {subject}", [str(one) for one in stored])
    call.silent()


@check("answered", "The result of a call goes to Fleet-Reply, and nowhere else.", "Be an agent, 9")
async def answered(stage: Stage) -> None:
    call = stage.coordinator.call("echo", {"value": "now"})
    result = await call.finished("completed")
    equal("the output of echo", output(result), "now")
    equal("Fleet-Agent", result.agent, stage.agent)
    # A beat later, nothing of it is still on its way.
    await stage.beat()
    _unstored(stage, call)
    equal("answers", len(stage.record.all(call.inbox)), 1)


@check("failed", "A call whose handler fails is answered: failed.", "Be an agent, 9")
async def failed(stage: Stage) -> None:
    call = stage.coordinator.call("fail", {"message": "no"})
    equal("message", error(await call.finished("failed")).message, "no")
    _unstored(stage, call)


@check("rejected", "A call with a bad input is answered: rejected.", "Be an agent, 9")
async def rejected(stage: Stage) -> None:
    call = stage.coordinator.call("sleep", {"seconds": "soon"})
    why = error(await call.finished("rejected"))
    equal("kind and field", (why.kind, why.field), ("InvalidInput", "seconds"))


@check("once", "A call is tried once: one that asks for more is answered: failed.", "Call")
async def once(stage: Stage) -> None:
    call = stage.coordinator.call("retry", {"times": 1})
    await call.finished("failed")
    _unstored(stage, call)


@check("expired", "A call past its deadline is answered: expired.", "Call")
async def expired(stage: Stage) -> None:
    past = str(time.time_ns() // 1_000_000 - 10_000)
    call = stage.coordinator.call("echo", {"value": 1}, [(h.DEADLINE, past)])
    await call.finished("expired")
