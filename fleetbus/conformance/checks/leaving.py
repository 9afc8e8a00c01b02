"""Checks: how an agent leaves."""

from __future__ import annotations

import signal
import time

from bus.wire import headers as h
from fleetbus.conformance import contract
from fleetbus.conformance.check import Topic, equal, holds
from fleetbus.conformance.checks.scenes import LEAVE
from fleetbus.conformance.queueing import queued_behind
from fleetbus.conformance.stage import Stage

TOPIC = Topic("leave", LEAVE)
check = TOPIC.check

END = 10.0
"""Seconds in which a process without tasks must have ended."""


async def _leaves(stage: Stage, since: int) -> None:
    """Wait for all that an agent says when it leaves."""
    beat = await stage.beat("state stopped", lambda b: b.state == "stopped", since, END)
    equal("next_in", beat.next_in, 0.0)
    gone = await stage.record.first(
        "the registry entry deleted", stage.entry, since, lambda one: not one.data
    )
    equal("KV-Operation", gone.headers.get("KV-Operation"), "DEL")
    await stage.event("left", since)
    equal("the exit status", await stage.running.ended("leaving", END), 0)
    last = stage.record.all(stage.heartbeats, since)[-1]
    equal("the last heartbeat's state", stage.read_beat(last).state, "stopped")
    holds(gone.number > last.number, "the last heartbeat before the deletion", "after it")


@check(
    "stop",
    "stop: what runs is finished, then a last heartbeat, the registry entry deleted, the event "
    "left, and exit status 0.",
    "Be an agent, 11",
)
async def stop(stage: Stage) -> None:
    running = await stage.coordinator.give("sleep", {"seconds": 0.6})
    await stage.taken()
    since = stage.record.mark()
    await stage.operator.ask("stop").ok()
    await stage.beat("state draining", lambda b: b.state != "ready", since)
    await running.finished("completed")
    await _leaves(stage, since)


@check("sigterm", "SIGTERM does the same.", "Be an agent, 11")
async def sigterm(stage: Stage) -> None:
    running = await stage.coordinator.give("sleep", {"seconds": 0.6})
    await stage.taken()
    since = stage.record.mark()
    stage.running.send(signal.SIGTERM)
    await running.finished("completed")
    await _leaves(stage, since)


@check(
    "grace",
    f"What still runs {contract.GRACE:g} s after it was asked to stop is interrupted and handed "
    "back with -NAK, without a result.",
    "conformance.md, The contract",
)
async def grace(stage: Stage) -> None:
    running = await stage.coordinator.give("sleep", {"seconds": 60})
    await stage.taken()
    since = stage.record.mark()
    begun = time.monotonic()
    await stage.operator.ask("stop").ok()
    await running.word(b"-NAK", contract.GRACE + stage.timeout)
    took = time.monotonic() - begun
    holds(took > contract.GRACE * 0.7, f"after {contract.GRACE:g} s", f"after {took:.2f} s")
    await _leaves(stage, since)
    results = stage.record.all(stage.subjects.result(running.id), since)
    holds(not results, "no result of a task that was handed back", [str(one) for one in results])
    holds(not running.said(b"+ACK"), "no +ACK", "+ACK")


@check(
    "queue",
    "What is queued when it stops is handed back at once with -NAK, and that its first delivery "
    "was no attempt is stored in an attempt marker with Fleet-Attempt: 0.",
    "Headers",
)
async def queue(stage: Stage) -> None:
    running, waiting = await queued_behind(stage, 1.0)
    since = stage.record.mark()
    await stage.operator.ask("stop").ok()
    nak = await waiting.word(b"-NAK")
    for one in running:
        await one.finished("completed")
        done = await one.word(b"+ACK")
        holds(nak.number < done.number, "-NAK before what runs has ended", "after it")
    marker = await stage.record.first(
        "an attempt marker", stage.subjects.attempt(waiting.id), since
    )
    equal("Fleet-Attempt", marker.headers.get(h.ATTEMPT), "0")
    holds(marker.number < nak.number, "the marker before -NAK", "after it")
    await _leaves(stage, since)
