"""Checks: cancellation, wherever the task is."""

from __future__ import annotations

from bus import codec, store
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.result import encode as result_block
from bus.wire.task import ErrorInfo
from fleetbus.conformance.check import Topic, equal, holds
from fleetbus.conformance.checks.outcomes import error
from fleetbus.conformance.checks.scenes import CANCEL
from fleetbus.conformance.given import Given
from fleetbus.conformance.queueing import queued_behind
from fleetbus.conformance.stage import Stage

TOPIC = Topic("cancel", CANCEL)
check = TOPIC.check


async def _canceled(given: Given, reason: str) -> None:
    why = error(await given.finished("canceled"))
    equal("message", why.message, reason)
    equal("kind", why.kind, "Canceled")


@check(
    "running",
    "A task that runs is interrupted: a result canceled that says why, and +ACK.",
    "Cancel, 3",
)
async def running(stage: Stage) -> None:
    other = await stage.coordinator.give("sleep", {"seconds": 0.7})
    given = await stage.coordinator.give("sleep", {"seconds": 60})
    await stage.beat("two tasks run", lambda b: b.running == 2)
    stage.coordinator.cancel(given, "not wanted")
    await _canceled(given, "not wanted")
    await other.finished("completed")
    await stage.beat("a free agent", lambda b: b.running == 0)


@check(
    "stored",
    "When the client has stored the result canceled itself, the agent stops and that one stays.",
    "Cancel",
)
async def stored(stage: Stage) -> None:
    given = await stage.coordinator.give("sleep", {"seconds": 60})
    await stage.beat("the task runs", lambda b: b.running == 1)
    subjects, bus = stage.subjects, stage.bus
    theirs = Result(given.id, "canceled", error=ErrorInfo("by the client"))
    await store.publish(bus, subjects.result(given.id), b"", result_block(theirs, once=True))
    question = {"filter": subjects.task_anywhere(given.id)}
    await bus.api(f"STREAM.PURGE.{subjects.tasks_stream}", question)
    stage.coordinator.cancel(given, "by the client")
    await given.word(b"+ACK")
    await stage.beat("a free agent", lambda b: b.running == 0)
    kept = await store.last(bus, subjects.results_stream, subjects.result(given.id))
    holds(kept is not None and not kept.headers.get(h.AGENT), "the client's result", str(kept))


@check("queued", "A task that is queued in the agent is canceled at once.", "Cancel, 3")
async def queued(stage: Stage) -> None:
    before, waiting = await queued_behind(stage, 60)
    stage.coordinator.cancel(waiting, "never begun")
    await _canceled(waiting, "never begun")
    holds(not any(one.over for one in before), "the others go on", "one of them has ended")
    for one in before:
        stage.coordinator.cancel(one, "enough")
        await _canceled(one, "enough")


@check(
    "before",
    "A cancellation that overtakes its task counts when the task comes.",
    "conformance.md, Cancellation first",
)
async def before(stage: Stage) -> None:
    task_id = stage.coordinator.new_id()
    subject = stage.subjects.cancel("steps", task_id)
    stage.bus.send(subject, codec.encode(ErrorInfo("too early")))
    given = await stage.coordinator.give("sleep", {"seconds": 60}, task_id=task_id)
    await _canceled(given, "too early")


@check("call", "A call is canceled like a task, and answered: canceled.", "Cancel, 3")
async def call(stage: Stage) -> None:
    given = stage.coordinator.call("sleep", {"seconds": 60})
    await stage.beat("the call runs", lambda b: b.running == 1)
    stage.coordinator.cancel(given, "hung up")
    equal("message", error(await given.finished("canceled")).message, "hung up")


@check(
    "command", "The command cancel answers true if the task was held, else false.", "Send commands"
)
async def command(stage: Stage) -> None:
    given = await stage.coordinator.give("sleep", {"seconds": 60})
    await stage.beat("the task runs", lambda b: b.running == 1)
    asked = stage.operator.ask("cancel", {"task_id": given.id, "reason": "by hand"})
    equal("the output", await asked.ok(), True)
    await _canceled(given, "by hand")
    asked = stage.operator.ask("cancel", {"task_id": "suite.unheard-of"})
    equal("the output for a task that it does not hold", await asked.ok(), False)
    await stage.operator.ask("cancel", {}).rejected()
