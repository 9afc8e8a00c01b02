"""Checks: commands."""

from __future__ import annotations

import time

from bus import codec
from bus.wire.command import Command
from fleetbus.conformance import contract
from fleetbus.conformance.check import Topic, equal, holds
from fleetbus.conformance.checks.scenes import COMMAND
from fleetbus.conformance.stage import Stage

TOPIC = Topic("command", COMMAND)
check = TOPIC.check

NOW = 0.9
"""Seconds in which a command is answered that takes no time."""


@check("ping", "ping is answered \"pong\", with the command's id and the agent's.", "Send commands")
async def ping(stage: Stage) -> None:
    asked = stage.operator.ask("ping")
    equal("the output", await asked.ok(), "pong")
    equal("states", [one.state for one in asked.replies], ["ok"])


@check("status", "status tells state, load and counters.", "Send commands")
async def status(stage: Stage) -> None:
    output = await stage.operator.ask("status").ok()
    holds(isinstance(output, dict), "an object", output)
    for name in ("state", "slots", "window", "running", "queued", "done", "failed"):
        holds(name in output, f"{name} in the output", output)
    equal("state", output["state"], "ready")
    equal("slots", output["slots"], contract.SLOTS)


@check("log-level", "set-log-level takes the four levels and rejects others.", "Send commands")
async def log_level(stage: Stage) -> None:
    for level in ("debug", "warning", "error", "info"):
        await stage.operator.ask("set-log-level", {"level": level}).ok()
    await stage.operator.ask("set-log-level", {"level": "loud"}).rejected()
    await stage.operator.ask("set-log-level").rejected()


@check("own", "The agent's own commands are answered.", "Send commands")
async def own(stage: Stage) -> None:
    asked = stage.operator.ask("greet", {"name": "Ada"})
    equal("the output", await asked.ok(), "hello Ada")


@check(
    "subjects", "Commands to all, its site, its capabilities and itself are heard once.", "Subjects"
)
async def subjects(stage: Stage) -> None:
    names = stage.subjects
    for subject in (
        names.command_all,
        names.command_site(stage.site),
        names.command_capability("echo"),
        names.command_capability("limit"),
        names.command_agent(stage.agent),
    ):
        asked = stage.operator.ask("ping", subject=subject)
        equal(f"the output by {subject}", await asked.ok(), "pong")
        await stage.operator.ask("ping").ok()
        equal(f"replies by {subject}", len(asked.replies), 1)


@check("private", "A reply goes to the reply subject of its own command only.", "Send commands")
async def private(stage: Stage) -> None:
    first = stage.operator.ask("greet", {"name": "a"})
    second = stage.operator.ask("greet", {"name": "b"})
    equal("the first output", await first.ok(), "hello a")
    equal("the second output", await second.ok(), "hello b")
    equal("replies", (len(first.replies), len(second.replies)), (1, 1))


@check(
    "selector",
    "The agent itself judges whether a selector means it; if not, it is silent.",
    "Send commands",
)
async def selector(stage: Stage) -> None:
    agent, site = stage.agent, stage.site
    meant = (
        "",
        f"agent={agent}",
        f"site={site}",
        "kind=conformance",
        'kind == "conformance"',
        "kind in (a,conformance)",
        "kind notin (a,b)",
        "kind != other",
        "kind",
        "!missing",
        "missing != x",
        "cap=echo",
        "cap in (nothing,sleep)",
        f"site={site},kind,cap=echo,!missing",
    )
    not_meant = (
        "agent=somebody-else",
        "site=elsewhere",
        "kind=other",
        "kind in (a,b)",
        "kind notin (a,conformance)",
        "kind != conformance",
        "!kind",
        "missing",
        "missing=x",
        "cap=nothing",
        f"site={site},kind=other",
    )
    silent = [stage.operator.ask("ping", selector=one) for one in not_meant]
    for one in meant:
        equal(
            f"the output for {one!r}", await stage.operator.ask("ping", selector=one).ok(), "pong"
        )
    await stage.beat()
    for asked in silent:
        replies = [reply.state for reply in asked.replies]
        equal(f"replies to selector {asked.command.selector!r}", replies, [])


@check("bad-selector", "A selector that cannot be read is rejected.", "Send commands")
async def bad_selector(stage: Stage) -> None:
    for selector in ("kind=", "in (a)", "a b", "kind in a", "=x", "(("):
        await stage.operator.ask("ping", selector=selector).rejected()


@check("expired", "A command past its expires_ms is not acted on.", "Command")
async def expired(stage: Stage) -> None:
    now_ms = time.time_ns() // 1_000_000
    late = stage.operator.ask("ping", expires_ms=now_ms - 60_000)
    good = stage.operator.ask("ping", expires_ms=now_ms + 60_000)
    equal("the output of one that has not expired", await good.ok(), "pong")
    await stage.operator.ask("ping").ok()
    equal("replies to one that has", len(late.replies), 0)


@check(
    "unknown", "An unknown verb is rejected, and the error names the known ones.", "Send commands"
)
async def unknown(stage: Stage) -> None:
    error = await stage.operator.ask("dance").rejected()
    missing = [verb for verb in (*contract.BUILT_IN, *contract.OWN) if verb not in error]
    holds(not missing, "all known verbs in the error", f"{error!r} without {missing}")


@check("arguments", "Arguments that are missing, unknown or wrong are rejected.", "Send commands")
async def arguments(stage: Stage) -> None:
    for verb, args in (
        ("greet", {}),
        ("greet", {"name": "Ada", "loudly": True}),
        ("greet", {"name": 7}),
        ("slow", {"seconds": "long"}),
        ("ping", {"count": 3}),
        ("config-override", {"values": 3, "ttl": 10}),
    ):
        await stage.operator.ask(verb, args).rejected()


@check("failed", "A command that fails is answered: failed, with the error.", "Reply")
async def failed(stage: Stage) -> None:
    reply = await stage.operator.ask("slow", {"seconds": -1}).last()
    equal("state", reply.state, "failed")
    holds(reply.error, "an error", "an empty one")


@check(
    "accepted",
    "A command that takes longer than a second is answered accepted, and then again; others "
    "are answered meanwhile.",
    "Reply",
)
async def accepted(stage: Stage) -> None:
    slow = stage.operator.ask("slow", {"seconds": 1.6})
    equal("the output of another", await stage.operator.ask("ping").ok(NOW), "pong")
    equal("replies so far", len(slow.replies), 0)
    equal("the output", await slow.ok(), 1.6)
    equal("states", [one.state for one in slow.replies], ["accepted", "ok"])
    first, last = stage.record.all(slow.inbox)
    holds(last.at - first.at < 1.2, "accepted after about a second", f"{last.at - first.at:.2f} s")


@check("no-reply", "A command without a reply subject is carried out.", "Send commands")
async def no_reply(stage: Stage) -> None:
    since = stage.record.mark()
    to = stage.subjects.command_agent(stage.agent)
    stage.bus.send(to, codec.encode(Command("quiet-1", "drain")))
    await stage.beat("state draining", lambda b: b.state == "draining", since)
    stage.bus.send(to, codec.encode(Command("quiet-2", "resume")))
    await stage.beat("state ready", lambda b: b.state == "ready")
