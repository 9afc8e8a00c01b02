"""Checks: heartbeats are kept promises, and say what the load is."""

from __future__ import annotations

import asyncio
import math
import time
from itertools import pairwise

from bus.wire.heartbeat import FleetPolicy, Heartbeat
from fleetbus.conformance import contract
from fleetbus.conformance.check import Failed, Topic, equal, holds
from fleetbus.conformance.checks.scenes import BEAT
from fleetbus.conformance.record import Seen
from fleetbus.conformance.stage import Stage

TOPIC = Topic("beat", BEAT)
check = TOPIC.check

SLACK = 0.5
"""Seconds by which a busy machine may be late once, and ``USUAL`` of which half of them may."""
USUAL = 0.1

LONG = 30.0
"""Seconds of an interval that no check waits for: what is sent sooner has another reason."""

GAPS = 12
"""Between heartbeats; so many that, drawn at random, they are never nearly alike."""

RATE = 250
"""Heartbeats a second, at most."""


async def _idle(stage: Stage, count: int) -> list[tuple[Seen, Heartbeat]]:
    """So many heartbeats of an agent that does nothing."""
    since = stage.record.mark()
    found: list[tuple[Seen, Heartbeat]] = []
    while len(found) < count:
        seen = await stage.record.first(
            "another heartbeat", stage.heartbeats, since, None, stage.policy.interval * 1.2 + 2.0
        )
        since = seen.number + 1
        found.append((seen, stage.read_beat(seen)))
    return found


@check("fields", "A heartbeat says who, where, and how busy.", "Heartbeat")
async def fields(stage: Stage) -> None:
    beat = await stage.beat()
    equal("agent", beat.agent, stage.agent)
    equal("site", beat.site, stage.site)
    equal("state", beat.state, "ready")
    equal("slots", beat.slots, contract.SLOTS)
    holds(beat.window >= beat.slots, "a window of at least the slots", beat.window)
    equal("running and queued", (beat.running, beat.queued), (0, 0))
    equal("interval", beat.interval, stage.policy.interval)
    off = abs(time.time() - beat.sent_ms / 1000)
    holds(off < 60, "sent_ms, the time now", beat.sent_ms)


@check(
    "kept",
    "Heartbeats come every interval, count up in seq, and none later than the one before "
    "promised in next_in.",
    "Be an agent, 5",
)
async def kept(stage: Stage) -> None:
    interval = stage.policy.interval
    found = await _idle(stage, 10)
    for (before, promise), (after, beat) in pairwise(found):
        equal("seq", beat.seq, promise.seq + 1)
        holds(
            0 < promise.next_in <= interval * 1.2 + 1e-6,
            f"next_in above 0 and up to 1.2 times the interval of {interval:g} s",
            promise.next_in,
        )
        gap = after.at - before.at
        holds(gap <= promise.next_in + SLACK, f"the next one within {promise.next_in:.3f} s", gap)
    late = sorted(
        after.at - before.at - promise.next_in for (before, promise), (after, _) in pairwise(found)
    )
    median = late[len(late) // 2]
    holds(median <= USUAL, "the next one within next_in", f"{median:.3f} s later as a rule")
    span = (found[-1][0].at - found[0][0].at) / (len(found) - 1)
    holds(span > interval * 0.7, f"about one every {interval:g} s", f"one every {span:.3f} s")


@check("jitter", "Each heartbeat is moved by up to 20 %.", "Be an agent, 5")
async def jitter(stage: Stage) -> None:
    interval = stage.policy.interval
    found = stage.record.all(stage.heartbeats, stage.since)
    if len(found) < GAPS + 1:
        await _idle(stage, GAPS + 1 - len(found))
        found = stage.record.all(stage.heartbeats, stage.since)
    gaps = sorted(after.at - before.at for before, after in pairwise(found))
    # Without the outliers of a busy machine.
    spread = gaps[-3] - gaps[2]
    holds(spread > interval * 0.04, "gaps that differ", [round(gap, 3) for gap in gaps])


@check("policy", "The interval follows the policy as soon as it changes.", "Be an agent, 3 and 5")
async def policy(stage: Stage) -> None:
    before = stage.policy
    slow = before.interval * 3
    await stage.change_policy(FleetPolicy(interval=slow, lease=30, ack_wait=5.0))
    first = await stage.beat(f"interval {slow:g}", lambda b: b.interval == slow)
    holds(first.next_in >= slow * 0.79, f"next_in of about {slow:g}", first.next_in)
    (one, _), (two, _) = await _idle(stage, 2)
    holds(two.at - one.at > slow * 0.7, f"a gap of about {slow:g} s", two.at - one.at)
    await stage.change_policy(before)
    await stage.beat("the old interval", lambda b: b.interval == before.interval)


@check("load", "Heartbeats count what runs, and what was taken by coordinator.", "Heartbeat")
async def load(stage: Stage) -> None:
    base = (await stage.beat()).accepted
    one = await stage.coordinator.give("sleep", {"seconds": 0.8}, via="c-one")
    await stage.beat("running 1", lambda b: b.running == 1)
    two = await stage.coordinator.give("sleep", {"seconds": 0.3}, via="c-two")
    await stage.beat("running 2", lambda b: b.running == 2)
    await one.finished("completed")
    await two.finished("completed")
    three = stage.coordinator.call("sleep", {"seconds": 0.05}, via="c-two")
    await three.finished("completed")
    beat = await stage.beat("running 0", lambda b: b.running == 0)
    equal("accepted from c-one", beat.accepted.get("c-one", 0), base.get("c-one", 0) + 1)
    equal("accepted from c-two", beat.accepted.get("c-two", 0), base.get("c-two", 0) + 2)


@check("counters", "done and failed count the handlers that have ended.", "Heartbeat")
async def counters(stage: Stage) -> None:
    base = await stage.beat()
    for value in ({"seconds": 0.1}, {"seconds": 0.1}):
        await (await stage.coordinator.give("sleep", value)).finished("completed")
    await (await stage.coordinator.give("fail", {"message": "no"})).finished("failed")
    beat = await stage.beat("3 more done", lambda b: b.done >= base.done + 3)
    equal("done", beat.done, base.done + 3)
    equal("failed", beat.failed, base.failed + 1)


@check("service", "service_ms says how long runs of a capability take.", "Heartbeat")
async def service(stage: Stage) -> None:
    await (await stage.coordinator.give("sleep", {"seconds": 0.1})).finished("completed")
    beat = await stage.beat("service_ms of sleep", lambda b: "sleep" in b.service_ms)
    ms = beat.service_ms["sleep"]
    holds(40 <= ms <= 1500, "some hundred milliseconds of sleep", ms)


@check("failing", "failing counts failures of late.", "Heartbeat", "optional")
async def failing(stage: Stage) -> None:
    await (await stage.coordinator.give("fail", {"message": "no"})).finished("failed")
    await stage.beat("failing of fail", lambda b: b.failing.get("fail", 0) > 0.5)


@check("at-once", "When a quarter of the window is done it sends one at once.", "Be an agent, 5")
async def at_once(stage: Stage) -> None:
    before = stage.policy
    await stage.change_policy(FleetPolicy(interval=LONG, lease=120, ack_wait=5.0))
    base = await stage.beat(f"interval {LONG:g}", lambda b: b.interval == LONG)
    since = stage.record.mark()
    for _ in range(math.ceil(base.window / 4)):
        await (await stage.coordinator.give("sleep", {"seconds": 0.1})).finished("completed")
    try:
        await stage.beat("the task that ended", lambda b: b.done > base.done, since)
    finally:
        await stage.change_policy(before)
        # Until the one that was promised comes, or another task ends.
        again = await stage.coordinator.give("sleep", {"seconds": 0.1})
        await again.finished("completed")
    await stage.beat("the old interval", lambda b: b.interval == before.interval, since)


@check("rate", f"It sends at most {RATE} heartbeats a second.", "Be an agent, 5")
async def rate(stage: Stage) -> None:
    since = stage.record.mark()
    begun = time.monotonic()
    calls = 0

    async def keep_busy() -> None:
        nonlocal calls
        while time.monotonic() < begun + 0.8:
            call = stage.coordinator.call("echo", {"value": 1})
            seen = asyncio.ensure_future(call.result())
            answered = await seen
            calls += 1
            if answered.state != "completed":
                raise Failed("echo completed", answered.state)

    await asyncio.gather(keep_busy(), keep_busy())
    beats = stage.record.all(stage.heartbeats, since)
    span = time.monotonic() - begun
    limit = RATE * span + 10
    holds(len(beats) <= limit, f"at most {limit:.0f} of them in {span:.2f} s", len(beats))
