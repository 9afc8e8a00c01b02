"""Checks: the registry entry is a lease."""

from __future__ import annotations

from itertools import pairwise

from bus.wire.heartbeat import FleetPolicy
from fleetbus.conformance.check import Topic, equal, holds
from fleetbus.conformance.checks.scenes import LEASE
from fleetbus.conformance.stage import Stage

TOPIC = Topic("lease", LEASE)
check = TOPIC.check

LONG = 60
"""Seconds of a lease that no check waits for: what is written sooner has another reason."""

SOON = 2.0
"""Seconds in which an agent answers to its entry being gone."""

LOST = b"NATS/1.0\r\nKV-Operation: DEL\r\nNats-TTL: 60s\r\nFleet-Reason: lost\r\n\r\n"
"""How a coordinator deletes the entry of an agent that it takes for dead."""


async def _settled(stage: Stage) -> None:
    """Return when the agent is not just registering."""
    seq = stage.now.seq
    await stage.beat("the heartbeat after the next", lambda b: b.seq > seq + 1)


@check("renewed", "It registers again every third of the lease.", "Be an agent, 4")
async def renewed(stage: Stage) -> None:
    lease = stage.policy.lease
    writes = [await stage.registered("a registry entry", stage.since)]
    for _ in range(3):
        writes.append(
            await stage.registered(
                f"another registry entry within half of the lease of {lease} s",
                writes[-1].number + 1,
                lease / 2,
            )
        )
    gaps = [after.at - before.at for before, after in pairwise(writes)]
    holds(min(gaps[1:]) > lease / 12, "not much more often than every third", gaps)
    equal("the card", writes[-1].data, writes[0].data)


@check("policy", "Registry entries take the lease of the policy in force.", "Be an agent, 3 and 4")
async def policy(stage: Stage) -> None:
    # Not just when it has registered, and may not have heard yet that it has.
    await stage.registered("a registry entry", stage.record.mark(), stage.policy.lease)
    await _settled(stage)
    since = stage.record.mark()
    await stage.change_policy(FleetPolicy(interval=0.3, lease=LONG, ack_wait=5.0))
    await stage.record.first(
        f"a registry entry with Nats-TTL: {LONG}s",
        stage.entry,
        since,
        lambda one: one.headers.get("Nats-TTL") == f"{LONG}s",
    )


async def _back(stage: Stage, since: int) -> None:
    seen = await stage.registered(
        f"a registry entry within {SOON:g} s after it was gone", since, SOON
    )
    equal("Nats-TTL", seen.headers.get("Nats-TTL"), f"{stage.policy.lease}s")
    await stage.event("returned", since)


@check(
    "deleted",
    "When a coordinator has deleted its entry it registers at once and publishes the event "
    "returned.",
    "Be an agent, 4",
)
async def deleted(stage: Stage) -> None:
    await _settled(stage)
    since = stage.record.mark()
    stage.bus.send(stage.entry, b"", "", LOST)
    await _back(stage, since)


@check(
    "expired",
    "When the broker says that its lease ran out it registers at once and publishes the event "
    "returned.",
    "Be an agent, 4",
)
async def expired(stage: Stage) -> None:
    await _settled(stage)
    since = stage.record.mark()
    # The broker says so itself only to an agent that was away for the whole of its lease.
    block = b"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n"
    stage.bus.send(stage.subjects.advert(stage.agent), b"", "", block)
    await _back(stage, since)


@check(
    "others", "Adverts of its own card, and of others, are no reason to register.", "Be an agent, 4"
)
async def others(stage: Stage) -> None:
    since = stage.record.mark()
    card = await stage.registered("a registry entry", stage.since)
    stage.bus.send(stage.subjects.advert(stage.agent), card.data)
    stage.bus.send(stage.subjects.advert("somebody-else"), b"")
    seq = stage.now.seq
    await stage.beat("two heartbeats later", lambda b: b.seq > seq + 1)
    again = stage.record.all(stage.entry, since)
    holds(not again, "no registry entry", len(again))


@check(
    "meanwhile",
    "The same when the deletion comes together with the broker's answer to a registration.",
    "Be an agent, 4",
)
async def meanwhile(stage: Stage) -> None:
    since = stage.record.mark()
    # A third of it is longer than what is waited for below.
    await stage.change_policy(FleetPolicy(interval=0.3, lease=9, ack_wait=5.0))
    stage.bus.send(stage.entry, b"", "", LOST)
    first = await stage.registered("a registry entry", since)
    await _settled(stage)
    stage.link.deafen()
    again = await stage.registered("another registry entry", first.number + 1, 4.5)
    stage.bus.send(stage.entry, b"", "", LOST)
    await stage.bus.flush()
    stage.link.up()
    await stage.registered(
        f"a registry entry within {SOON:g} s after it was gone", again.number + 1, SOON
    )
