"""Checks: draining, and taking tasks again."""

from __future__ import annotations

from fleetbus.conformance.check import Topic
from fleetbus.conformance.checks.scenes import LEAVE
from fleetbus.conformance.stage import Stage

TOPIC = Topic("drain", LEAVE)
check = TOPIC.check


@check(
    "drain",
    "drain: takes no more tasks and says so in heartbeats and an event; what runs is finished, "
    "and probes are answered.",
    "Send commands",
)
async def drain(stage: Stage) -> None:
    running = await stage.coordinator.give("sleep", {"seconds": 0.8})
    await stage.taken()
    since = stage.record.mark()
    await stage.operator.ask("drain").ok()
    await stage.beat("state draining", lambda b: b.state == "draining", since)
    await stage.event("draining", since)
    await (await stage.coordinator.give("echo", {"value": 1})).refused("draining")
    await stage.coordinator.call("echo", {"value": 1}).refused("draining")
    probe = stage.coordinator.raw(b"NATS/1.0\r\nFleet-Probe: c-suite\r\n\r\n", b"")
    await stage.record.first("an answer to a probe", probe.answers)
    await running.finished("completed")


@check("resume", "resume: takes tasks again and says so.", "Send commands")
async def resume(stage: Stage) -> None:
    await stage.operator.ask("drain").ok()
    since = stage.record.mark()
    await stage.operator.ask("resume").ok()
    await stage.beat("state ready", lambda b: b.state == "ready", since)
    await stage.event("resumed", since)
    await (await stage.coordinator.give("echo", {"value": 1})).finished("completed")
