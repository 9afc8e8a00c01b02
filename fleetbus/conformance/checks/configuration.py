"""Checks: the configuration that layers on the bus make of an agent."""

from __future__ import annotations

from typing import Any

from bus import codec
from bus.config.merge import digest, merged
from bus.errors import DecodeError
from bus.topology import BATCH_LEVEL
from bus.wire.config import ConfigReport
from fleetbus.conformance.check import Failed, Skipped, Topic, equal, holds
from fleetbus.conformance.checks.outcomes import output
from fleetbus.conformance.checks.scenes import CONFIG
from fleetbus.conformance.stage import Stage

TOPIC = Topic("config", CONFIG)
check = TOPIC.check

COMMIT = "8f1d3a0c52e94b7d1c6f0a9e3b5d7c2f4a6e8b10"


async def limit(stage: Stage) -> Any:
    """The value that handlers see."""
    return output(await stage.coordinator.call("limit").finished("completed"))


async def report(stage: Stage) -> ConfigReport:
    """What the command config answers.

    Raises:
        Failed: it is no ConfigReport.
    """
    answered = await stage.operator.ask("config").ok()
    try:
        return codec.decode(ConfigReport, codec.encode(answered))
    except DecodeError as problem:
        raise Failed("a ConfigReport", f"{problem}: {answered}") from None


async def in_force(stage: Stage, since: int, *layers: dict[str, Any]) -> None:
    """Wait until heartbeats name the hash of ``layers``, merged.

    Raises:
        Failed: they do not, or handlers see another ``limit``.
    """
    values = merged(layers)
    want = digest(values)
    await stage.beat(f"config {want}, the hash of {values}", lambda b: b.config == want, since)
    equal("the limit that handlers see", await limit(stage), values.get("limit"))


async def clear(stage: Stage) -> None:
    """No layers, and no trace of any."""
    since = stage.record.mark()
    for name in ("global", "fleet", "group.10-a", "group.20-b", f"instance.{stage.agent}"):
        await stage.operator.layer(name, None)
    await in_force(stage, since)


def own(stage: Stage) -> str:
    """The name of the agent's own layer."""
    return f"instance.{stage.agent}"


@check("none", "Without layers the configuration is an empty object.", "Configure agents")
async def none(stage: Stage) -> None:
    await in_force(stage, stage.since)
    found = await report(stage)
    equal("state and hash", (found.state, found.hash), ("ok", digest({})))
    equal("overrides", found.overrides, ())


@check(
    "layers",
    "Layers are laid over each other in order as JSON merge patches, each as soon as it is "
    "written, and heartbeats name the hash.",
    "Configure agents",
)
async def layers(stage: Stage) -> None:
    made: dict[str, dict[str, Any]] = {}
    for name, values, selector in (
        ("global", {"limit": 1, "a": {"x": 1, "y": [1, 2]}, "gone": "soon", "é": "ü"}, ""),
        (f"instance.{stage.agent}", {"limit": 5}, ""),
        ("group.20-b", {"limit": 3, "a": {"y": [3]}}, "kind=conformance,cap=echo"),
        ("group.10-a", {"limit": 2, "a": {"z": True}, "first": 1.5}, ""),
        ("fleet", {"a": {"x": None}, "gone": None, "f": None}, ""),
    ):
        since = stage.record.mark()
        await stage.operator.layer(name, values, selector)
        made[name] = values
        order = ("global", "fleet", "group.10-a", "group.20-b", own(stage))
        await in_force(stage, since, *(made[one] for one in order if one in made))


@check(
    "selector",
    "A group whose selector does not match, and another instance's layer, do not count.",
    "Configure agents",
)
async def selector(stage: Stage) -> None:
    await clear(stage)
    since = stage.record.mark()
    await stage.operator.layer("group.10-a", {"limit": 9}, "kind=other")
    await stage.operator.layer("instance.somebody-else", {"limit": 10})
    await stage.operator.layer("global", {"here": True})
    await in_force(stage, since, {"here": True})
    since = stage.record.mark()
    await stage.operator.layer("group.10-a", {"limit": 9}, "kind")
    await in_force(stage, since, {"here": True}, {"limit": 9})


@check("deleted", "KV-Operation: DEL removes a layer.", "Configure agents")
async def deleted(stage: Stage) -> None:
    await clear(stage)
    await stage.operator.layer("global", {"limit": 1})
    since = stage.record.mark()
    await stage.operator.layer(own(stage), {"limit": 2})
    await in_force(stage, since, {"limit": 2})
    since = stage.record.mark()
    await stage.operator.layer(own(stage), None)
    await in_force(stage, since, {"limit": 1})


@check(
    "unreadable",
    "A value that cannot be read, or is empty, does not count: the one before stays.",
    "Configure agents",
)
async def unreadable(stage: Stage) -> None:
    await clear(stage)
    await stage.operator.layer("fleet", {"limit": 4})
    for data in (b"\xff\x00garbage", b'{"values":[1]}', b"", b'{"values":{},"selector":"(("}'):
        await stage.operator.garbled("layer.fleet", data)
    since = stage.record.mark()
    await stage.operator.layer("global", {"seen": 1})
    await in_force(stage, since, {"seen": 1}, {"limit": 4})


@check(
    "batch",
    "What was written in a batch counts once a later head has come, and heartbeats name its "
    "commit.",
    "Configure agents",
)
async def batch(stage: Stage) -> None:
    if await stage.bus.api_level() < BATCH_LEVEL:
        raise Skipped("this server stores no batches: it is older than 2.12")
    await clear(stage)
    await stage.operator.batch({"fleet": {"limit": 6}, "global": {"early": 1}})
    since = stage.record.mark()
    await stage.operator.layer(own(stage), {"alone": 1})
    await in_force(stage, since, {"alone": 1})
    since = stage.record.mark()
    await stage.operator.batch({"fleet": {"limit": 7}}, COMMIT)
    await in_force(stage, since, {"early": 1}, {"limit": 7}, {"alone": 1})
    beat = await stage.beat(f"commit {COMMIT[:12]}", lambda b: b.commit == COMMIT[:12], since)
    equal("config", beat.config, digest({"early": 1, "limit": 7, "alone": 1}))
    equal("commit in the report", (await report(stage)).commit, COMMIT)


@check(
    "rejected",
    "A configuration that cannot be used is not applied: heartbeats name it in rejected, the "
    "report says why, and events tell of it and of its end.",
    "Be an agent, 3",
)
async def rejected(stage: Stage) -> None:
    await clear(stage)
    since = stage.record.mark()
    await stage.operator.layer(own(stage), {"limit": 2})
    await in_force(stage, since, {"limit": 2})
    since = stage.record.mark()
    await stage.operator.layer(own(stage), {"limit": "two"})
    bad, good = digest({"limit": "two"}), digest({"limit": 2})
    beat = await stage.beat(f"rejected {bad}", lambda b: b.rejected == bad, since)
    equal("config, the last good one", beat.config, good)
    equal("the limit that handlers see", await limit(stage), 2)
    found = await report(stage)
    equal("state and hash in the report", (found.state, found.hash), ("rejected", good))
    if found.rejected is None:
        raise Failed("rejected in the report", "null")
    equal("hash of the rejected one", found.rejected.hash, bad)
    holds(found.rejected.reason, "a reason", "an empty one")
    await stage.event("config.rejected", since)
    since = stage.record.mark()
    await stage.operator.layer(own(stage), {"limit": 3})
    await in_force(stage, since, {"limit": 3})
    await stage.beat("nothing rejected", lambda b: not b.rejected, since)
    await stage.event("config.accepted", since)


@check(
    "report",
    "The command config tells hash, when it was applied, and that all is well.",
    "ConfigReport",
)
async def told(stage: Stage) -> None:
    await clear(stage)
    since = stage.record.mark()
    await stage.operator.layer("fleet", {"limit": 8})
    await in_force(stage, since, {"limit": 8})
    found = await report(stage)
    equal("hash", found.hash, digest({"limit": 8}))
    equal("state", found.state, "ok")
    equal("rejected", found.rejected, None)
    holds(found.applied_ms > 0, "applied_ms", found.applied_ms)


@check("start", "An agent that starts reads what is there before it takes tasks.", "Be an agent, 3")
async def start(stage: Stage) -> None:
    await stage.operator.layer("fleet", {"limit": 12})
    values = {"limit": 12}
    await in_force(stage, stage.record.mark(), values)
    first = await stage.restart()
    equal("config in its first heartbeat", first.config, digest(values))
    equal("the limit that handlers see", await limit(stage), 12)


@check(
    "waiting",
    "An agent that starts with a configuration that it cannot use joins, and takes no tasks "
    "until one is good.",
    "ConfigReport",
)
async def waiting(stage: Stage) -> None:
    await stage.operator.layer("fleet", {"limit": "many"})
    first = await stage.restart()
    equal("state in its first heartbeat", first.state, "draining")
    equal("config", first.config, "")
    equal("state in the report", (await report(stage)).state, "waiting")
    await stage.operator.ask("resume").last()
    call = stage.coordinator.call("echo", {"value": 1})
    await call.refused("draining")
    since = stage.record.mark()
    await stage.operator.layer("fleet", {"limit": 1})
    await stage.beat("state ready", lambda b: b.state == "ready", since)
    await in_force(stage, since, {"limit": 1})
