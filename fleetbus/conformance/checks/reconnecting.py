"""Checks: the link breaks, and comes back."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from bus.config.merge import digest
from fleetbus.conformance.check import Failed, Topic, equal, holds
from fleetbus.conformance.checks.scenes import LINK
from fleetbus.conformance.stage import Stage

TOPIC = Topic("link", LINK)
check = TOPIC.check

BACK = 8.0
"""Seconds in which an agent is back after a short outage."""

OUTAGE = 0.5
"""Seconds."""


async def _cut(stage: Stage) -> None:
    """Cut the link, and wait until the agent is back and reports."""
    known = len(stage.link.connections)
    stage.link.cut()
    # What it said before may be on its way to us still.
    try:
        async with asyncio.timeout(BACK):
            await stage.link.more(known)
    except TimeoutError:
        raise Failed(f"a connection within {BACK:g} s after the last was cut", "none") from None
    await stage.beat("the agent, back", None, stage.record.mark(), BACK)


@check(
    "back",
    "After a short outage the agent is back by itself: it registers, and sends a heartbeat.",
    "Be an agent, 4",
)
async def back(stage: Stage) -> None:
    before = await stage.beat()
    stage.link.down()
    since = stage.record.mark()
    await asyncio.sleep(OUTAGE)  # the outage
    stage.link.up()
    entry = await stage.registered("a registry entry after the reconnect", since, BACK)
    equal("Nats-TTL", entry.headers.get("Nats-TTL"), f"{stage.policy.lease}s")
    beat = await stage.beat("the agent, back", None, since)
    equal("incarnation", beat.incarnation, before.incarnation)
    holds(beat.seq > before.seq, f"a seq above {before.seq}", beat.seq)
    name = f"agent:{stage.agent}:{before.incarnation}"
    equal("the name in CONNECT", stage.link.connections[-1].options.get("name"), name)


@check("listens", "After a reconnect it hears all that it heard before.", "Be an agent, 2")
async def listens(stage: Stage) -> None:
    await _cut(stage)
    given = await stage.coordinator.give("sleep", {"seconds": 60})
    await stage.beat("the task runs", lambda b: b.running == 1)
    for subject in (
        stage.subjects.command_all,
        stage.subjects.command_site(stage.site),
        stage.subjects.command_capability("echo"),
    ):
        equal("ping", await stage.operator.ask("ping", subject=subject).ok(), "pong")
    stage.coordinator.cancel(given, "enough")
    await given.finished("canceled")


@check(
    "result",
    "A task that ends while the link is down has its result delivered once, after it is back.",
    "Be an agent, 9",
)
async def result(stage: Stage) -> None:
    given = await stage.coordinator.give("sleep", {"seconds": 0.3})
    await stage.taken()
    stage.link.down()
    await asyncio.sleep(OUTAGE + 0.3)  # the outage; the task ends in it
    stage.link.up()
    await given.finished("completed", BACK)
    await stage.beat("an idle agent", lambda b: not b.running)
    stored = stage.record.all(stage.subjects.done(given.id))
    equal("results stored", len(stored), 1)


@check("running", "A task that runs through an outage is not started again.", "Be an agent, 6")
async def running(stage: Stage) -> None:
    done = (await stage.beat("an idle agent", lambda b: not b.running)).done
    given = await stage.coordinator.give("sleep", {"seconds": 1.2})
    await stage.taken()
    await _cut(stage)
    await given.finished("completed", BACK)
    beat = await stage.beat("an idle agent", lambda b: not b.running)
    equal("done, one handler", beat.done, done + 1)


@check(
    "answer-lost",
    "If the link breaks before the broker's answer is there, the result is published again, the "
    "second is refused, and the task acknowledged.",
    "Be an agent, 9",
)
async def answer_lost(stage: Stage) -> None:
    given = await stage.coordinator.give("sleep", {"seconds": 0.3})
    await stage.taken()
    stage.link.deafen()
    await given.result()
    holds(not given.said(b"+ACK"), "no +ACK before the answer is there", "+ACK")
    stage.link.down()
    stage.link.up()
    await given.word(b"+ACK", BACK)
    stored = stage.record.all(stage.subjects.done(given.id))
    equal("results stored", len(stored), 1)


@check(
    "policy",
    "A policy that is written while the link is down is in force soon after it is back.",
    "Be an agent, 3",
)
async def policy(stage: Stage) -> None:
    before = stage.policy
    stage.link.down()
    await stage.change_policy(replace(before, interval=before.interval * 3))
    since = stage.record.mark()
    stage.link.up()
    try:
        slow = stage.policy.interval
        await stage.beat(f"interval {slow:g}", lambda b: b.interval == slow, since, BACK)
    finally:
        await stage.change_policy(before)
    await stage.beat("the old interval", lambda b: b.interval == before.interval)


@check(
    "config",
    "A layer that is written while the link is down is in force soon after it is back.",
    "Be an agent, 3",
)
async def config(stage: Stage) -> None:
    stage.link.down()
    await stage.operator.layer("fleet", {"limit": 77})
    since = stage.record.mark()
    stage.link.up()
    want = digest({"limit": 77})
    await stage.beat(f"config {want}", lambda b: b.config == want, since, BACK)
