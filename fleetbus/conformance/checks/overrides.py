"""Checks: values that an operator sets on one agent for a time."""

from __future__ import annotations

import time

from bus.config.merge import digest
from fleetbus.conformance.check import Topic, equal, holds
from fleetbus.conformance.checks.configuration import clear, in_force, limit, report
from fleetbus.conformance.checks.scenes import CONFIG
from fleetbus.conformance.operating import ISSUER
from fleetbus.conformance.stage import Stage

TOPIC = Topic("override", CONFIG)
check = TOPIC.check

DAYS = 24 * 3600


async def _begin(stage: Stage) -> None:
    await stage.operator.ask("config-clear").ok()
    await clear(stage)
    since = stage.record.mark()
    await stage.operator.layer("fleet", {"limit": 1, "other": {"a": 1}})
    await in_force(stage, since, {"limit": 1, "other": {"a": 1}})


@check(
    "set",
    "config-override lays values over the layers: handlers see them, heartbeats count them, "
    "the hash stays.",
    "Send commands",
)
async def set_(stage: Stage) -> None:
    await _begin(stage)
    since = stage.record.mark()
    values = {"limit": 9, "other": {"a": 2}}
    done = await stage.operator.ask("config-override", {"values": values, "ttl": 60}).ok()
    equal("set", sorted(done.get("set", [])), ["limit", "other.a"])
    left = done.get("until_ms", 0) / 1000 - time.time()
    holds(50 < left < 70, "until_ms in about 60 s", f"in {left:.1f} s")
    equal("the limit that handlers see", await limit(stage), 9)
    beat = await stage.beat("overrides 2", lambda b: b.overrides == 2, since)
    equal("config", beat.config, digest({"limit": 1, "other": {"a": 1}}))
    found = {one.path: one for one in (await report(stage)).overrides}
    equal("paths in the report", sorted(found), ["limit", "other.a"])
    equal("value", found["limit"].value, 9)
    equal("by", found["limit"].by, ISSUER)


@check("clear", "config-clear ends those at or below its keys, or all.", "Send commands")
async def clear_(stage: Stage) -> None:
    await _begin(stage)
    values = {"limit": 9, "other": {"a": 2, "b": 3}}
    await stage.operator.ask("config-override", {"values": values, "ttl": 60}).ok()
    gone = await stage.operator.ask("config-clear", {"keys": ["other"]}).ok()
    equal("those that ended", sorted(gone), ["other.a", "other.b"])
    equal("the limit that handlers see", await limit(stage), 9)
    gone = await stage.operator.ask("config-clear").ok()
    equal("those that ended", gone, ["limit"])
    equal("the limit that handlers see", await limit(stage), 1)
    await stage.beat("overrides 0", lambda b: b.overrides == 0)


@check("ttl", "An override ends by itself.", "Send commands")
async def ttl(stage: Stage) -> None:
    await _begin(stage)
    since = stage.record.mark()
    asked = stage.operator.ask("config-override", {"values": {"limit": 5}, "ttl": 0.8})
    await asked.ok()
    await stage.beat("overrides 1", lambda b: b.overrides == 1, since)
    await stage.beat("overrides 0", lambda b: b.overrides == 0, stage.record.mark())
    equal("the limit that handlers see", await limit(stage), 1)


@check(
    "refused",
    "An override that would make the configuration bad changes nothing; a ttl of 0 or of more "
    "than 7 days is rejected.",
    "Send commands",
)
async def refused(stage: Stage) -> None:
    await _begin(stage)
    bad = {"values": {"limit": "x"}, "ttl": 60}
    reply = await stage.operator.ask("config-override", bad).last()
    holds(reply.state in ("failed", "rejected"), "failed or rejected", reply.state)
    holds(reply.error, "an error that says why", "an empty one")
    for seconds in (0, -1, 7 * DAYS + 1, "long"):
        args = {"values": {"limit": 5}, "ttl": seconds}
        await stage.operator.ask("config-override", args).rejected()
    equal("the limit that handlers see", await limit(stage), 1)
    equal("overrides in the report", (await report(stage)).overrides, ())
    await clear(stage)
