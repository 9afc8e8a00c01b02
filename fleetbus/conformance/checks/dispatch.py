"""Checks: what is taken, and what is refused."""

from __future__ import annotations

from bus.wire import headers as h
from fleetbus.conformance.check import Skipped, Topic, equal, holds
from fleetbus.conformance.checks.scenes import TASK
from fleetbus.conformance.stage import Stage

TOPIC = Topic("dispatch", TASK)
check = TOPIC.check

MOST = 64
"""Tasks; a window that is larger is not filled."""


@check(
    "probe",
    "A probe is answered with Fleet-Incarnation and nothing else, and is not counted.",
    "Be an agent, 6",
)
async def probe(stage: Stage) -> None:
    card = await stage.card()
    asked = stage.coordinator.raw(h.encode([(h.PROBE, "c-suite")]), b"")
    seen = await stage.record.first("an answer to a probe", asked.answers)
    equal("the headers", seen.headers, {h.INCARNATION: card.incarnation})
    equal("the body", seen.data, b"")
    equal("accepted", (await stage.beat()).accepted, {})


@check("full", "A task beyond the window is refused: Fleet-Busy: full.", "Be an agent, 6")
async def full(stage: Stage) -> None:
    beat = await stage.beat("an idle agent", lambda b: not b.running and not b.queued)
    if beat.window > MOST:
        raise Skipped(f"its window is {beat.window}")
    taken = [await stage.coordinator.give("sleep", {"seconds": 60}) for _ in range(beat.window)]
    await stage.beat("a full window", lambda b: b.running + b.queued == beat.window)
    beyond = await stage.coordinator.give("sleep", {"seconds": 60})
    await beyond.refused("full")
    for one in taken:
        one.silent()
    # It lives all the same.
    asked = stage.coordinator.raw(h.encode([(h.PROBE, "c-suite")]), b"")
    await stage.record.first("an answer to a probe of a full agent", asked.answers)
    holds(not beyond.words(), "no word about a refused task", [str(w) for w in beyond.words()])


@check(
    "capability", "A capability that it lacks is refused: Fleet-Busy: capability.", "Be an agent, 6"
)
async def capability(stage: Stage) -> None:
    given = await stage.coordinator.give("nobody-offers-this")
    await given.refused("capability")
    holds(not given.words(), "no word about a refused task", [str(w) for w in given.words()])


ACK = "$JS.ACK.TASKS_x.echo-p1.1.5.5.1795235922388279528.0"


@check("malformed", "What cannot be read is refused: Fleet-Busy: malformed.", "Be an agent, 6")
async def malformed(stage: Stage) -> None:
    base = (await stage.beat()).accepted
    good = {h.TASK: "suite.m1", h.CAPABILITY: "echo", h.VIA: "c-bad", h.ACK: ACK}
    for change in (
        {h.TASK: None},
        {h.TASK: "no-dot"},
        {h.TASK: "suite.a b"},
        {h.ACK: None},
        {h.ACK: "two words"},
        {h.ATTEMPT: "first"},
        {h.MAX_ATTEMPTS: "many"},
        {h.DEADLINE: "soon"},
    ):
        fields = {**good, **change}
        block = h.encode([(name, value) for name, value in fields.items() if value is not None])
        await stage.coordinator.raw(block, b'{"value":1}').refused("malformed")
    equal("accepted", (await stage.beat()).accepted, base)


@check("silent", "A task that is taken is not answered.", "Be an agent, 6")
async def silent(stage: Stage) -> None:
    given = await stage.coordinator.give("echo", {"value": "quiet"})
    await given.finished("completed")
    given.silent()


@check(
    "adopted",
    "A second delivery of a task that it holds is not run again: the newer Fleet-Ack is "
    "acknowledged, and it is counted in accepted.",
    "Be an agent, 6",
)
async def adopted(stage: Stage) -> None:
    base = await stage.beat()
    via = "c-adopt"
    first = await stage.coordinator.give("sleep", {"seconds": 0.8}, via=via)
    await stage.taken()
    stage.coordinator.take_from(first)
    second = await stage.coordinator.again(first, attempt=2, via=via)
    first.adopted = True
    await second.finished("completed")
    second.silent()
    first.silent()
    acks = first.said(b"+ACK")
    holds(not acks, "+ACK to the newer Fleet-Ack only", [one.subject for one in acks])
    results = stage.record.all(stage.subjects.result(first.id), first.since)
    equal("results published", len(results), 1)
    beat = await stage.beat("an idle agent", lambda b: not b.running)
    equal("done, one handler", beat.done, base.done + 1)
    equal("accepted", beat.accepted.get(via), 2)


@check(
    "beside",
    "Beside a task that runs, others are taken and run to their end.",
    "Be an agent, 6",
)
async def beside(stage: Stage) -> None:
    long = await stage.coordinator.give("sleep", {"seconds": 0.6})
    short = await stage.coordinator.give("echo", {"value": 2})
    await short.finished("completed")
    holds(not long.over, "the longer one still runs", [str(w) for w in long.words()])
    await long.finished("completed")
