"""Checks: how an agent joins."""

from __future__ import annotations

import asyncio
import time

from bus import codec
from bus.transport import Inbound
from fleetbus.conformance import contract
from fleetbus.conformance.check import Failed, Skipped, Topic, equal, holds
from fleetbus.conformance.checks.scenes import JOIN
from fleetbus.conformance.record import covers
from fleetbus.conformance.stage import Stage

TOPIC = Topic("join", JOIN)
check = TOPIC.check

PATIENCE = 1.0
"""Seconds in which an agent that speaks the micro protocol answers."""


@check("name", "The connection is named agent:<agent>:<incarnation>.", "Be an agent, 1")
async def name(stage: Stage) -> None:
    card = await stage.card()
    options = stage.link.connections[-1].options
    expected = f"agent:{stage.agent}:{card.incarnation}"
    equal("the name in CONNECT", options.get("name"), expected)
    equal("headers in CONNECT", options.get("headers"), True)


@check(
    "subscribed",
    "It subscribes to everything that it must hear before it registers.",
    "Be an agent, 2",
)
async def subscribed(stage: Stage) -> None:
    card = await stage.card()
    subjects = stage.subjects
    wanted = [
        subjects.dispatch(stage.agent),
        subjects.command_all,
        subjects.command_site(stage.site),
        subjects.command_agent(stage.agent),
        subjects.advert(stage.agent),
        *(
            subjects.config(key)
            for key in (
                "policy",
                "head",
                "layer.global",
                "layer.fleet",
                "layer.group.*",
                f"layer.instance.{stage.agent}",
            )
        ),
    ]
    for one in card.capabilities:
        wanted += [subjects.cancels(one.name), subjects.command_capability(one.name)]
    operations = stage.link.connections[-1].operations
    if ("PUB", stage.entry) not in operations:
        raise Failed(f"a publish to {stage.entry}", "none on its connection")
    before = operations[: operations.index(("PUB", stage.entry))]
    heard = [subject for verb, subject in before if verb == "SUB"]
    missing = [one for one in wanted if not any(covers(pattern, one) for pattern in heard)]
    holds(not missing, "all subscriptions before the registry entry", f"without {missing}")


@check("card", "It registers a Card that says what it is and what it offers.", "Card")
async def card(stage: Stage) -> None:
    found = await stage.card()
    equal("agent", found.agent, stage.agent)
    equal("site", found.site, stage.site)
    equal("slots", found.slots, contract.SLOTS)
    holds(found.incarnation, "an incarnation", "an empty one")
    for label, value in contract.LABELS.items():
        equal(f"label {label}", found.labels.get(label), value)
    offered = {one.name for one in found.capabilities}
    missing = [one for one in contract.REQUIRED if one not in offered]
    holds(not missing, "the capabilities of the contract", f"without {missing}")
    verbs = set(found.commands)
    missing = [one for one in (*contract.BUILT_IN, *contract.OWN) if one not in verbs]
    holds(not missing, "all verbs in commands", f"without {missing}")
    age = time.time() - found.started_ms / 1000
    holds(abs(age) < 600, "started_ms, of which two processes are told apart", found.started_ms)


@check(
    "schemas", "The card has the JSON Schema of each capability's input.", "Capability", "optional"
)
async def schemas(stage: Stage) -> None:
    for one in (await stage.card()).capabilities:
        if one.name == "echo":
            holds("value" in str(one.input_schema), "a schema that names value", one.input_schema)


@check("lease", "The registry entry has the policy's lease as its Nats-TTL.", "Be an agent, 4")
async def lease(stage: Stage) -> None:
    seen = await stage.registered("a registry entry", stage.since)
    equal("Nats-TTL", seen.headers.get("Nats-TTL"), f"{stage.policy.lease}s")


@check(
    "heartbeat",
    "It sends its first heartbeat, with seq 1, as soon as it has registered.",
    "Be an agent, 5",
)
async def heartbeat(stage: Stage) -> None:
    entry = await stage.registered("a registry entry", stage.since)
    seen = await stage.record.first("a heartbeat", stage.heartbeats, stage.since)
    equal("seq", stage.read_beat(seen).seq, 1)
    holds(seen.number > entry.number, "the registry entry before the first heartbeat", "after it")
    holds(seen.at - entry.at < 1.0, "a heartbeat within a second", f"{seen.at - entry.at:.2f} s")


@check(
    "incarnation", "Card, heartbeats and probes name the same incarnation.", "Be an agent, 1 and 6"
)
async def incarnation(stage: Stage) -> None:
    card = await stage.card()
    beat = await stage.beat()
    equal("the heartbeat's incarnation", beat.incarnation, card.incarnation)
    probe = stage.coordinator.raw(b"NATS/1.0\r\nFleet-Probe: c-suite\r\n\r\n", b"")
    seen = await stage.record.first("an answer to a probe", probe.answers)
    equal("Fleet-Incarnation", seen.headers.get("Fleet-Incarnation"), card.incarnation)


@check("event", "It publishes the event joined.", "Subjects")
async def event(stage: Stage) -> None:
    await stage.event("joined", stage.since)


async def _micro(stage: Stage, verb: str) -> dict[str, object]:
    """This agent's answer to a question of the micro protocol."""
    found: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    def on_answer(message: Inbound) -> None:
        answer = codec.decode(dict[str, object], message.data) if message.data else {}
        about = answer.get("metadata")
        ours = isinstance(about, dict) and about.get("agent") == stage.agent
        if ours and not found.done():
            found.set_result(answer)

    inbox = stage.bus.nc.new_inbox()
    subscription = await stage.bus.listen(inbox, on_answer)
    try:
        stage.bus.send(f"$SRV.{verb}", b"", inbox)
        async with asyncio.timeout(PATIENCE):
            return await found
    except TimeoutError:
        raise Skipped(f"nobody answers $SRV.{verb} with metadata agent={stage.agent}") from None
    finally:
        await stage.bus.unlisten(subscription)


@check(
    "micro-ping",
    "It answers $SRV.PING as an instance of fleetbus-agent.",
    "Be an agent",
    "optional",
)
async def micro_ping(stage: Stage) -> None:
    answer = await _micro(stage, "PING")
    equal("name", answer.get("name"), "fleetbus-agent")
    equal("type", answer.get("type"), "io.nats.micro.v1.ping_response")
    holds(answer.get("id"), "an id", answer)


@check(
    "micro-info",
    "It answers $SRV.INFO.fleetbus-agent.",
    "Be an agent",
    "optional",
)
async def micro_info(stage: Stage) -> None:
    answer = await _micro(stage, "INFO.fleetbus-agent")
    equal("name", answer.get("name"), "fleetbus-agent")
    equal("type", answer.get("type"), "io.nats.micro.v1.info_response")


@check(
    "micro-stats",
    "It answers $SRV.STATS.fleetbus-agent.",
    "Be an agent",
    "optional",
)
async def micro_stats(stage: Stage) -> None:
    answer = await _micro(stage, "STATS.fleetbus-agent")
    equal("type", answer.get("type"), "io.nats.micro.v1.stats_response")


@check(
    "twin",
    "A second process with an id that is in use does not start: it says why and exits with a "
    "status that is not 0.",
    "conformance.md, One process an id",
)
async def twin(stage: Stage) -> None:
    since = stage.record.mark()
    before = stage.now.incarnation
    second = stage.spawn()
    try:
        await second.start()
        status = await second.ended("finding its id in use", stage.timeout * 2)
        holds(status != 0, "an exit status that is not 0", status)
        holds(second.output.strip(), "a message that says why", "no output")
    finally:
        await second.kill()
    entries = stage.record.all(stage.entry, since, lambda one: before.encode() not in one.data)
    holds(not entries, "no registry entry of the second", entries and str(entries[0]))
    beat = await stage.beat("the first goes on")
    equal("the incarnation that goes on", beat.incarnation, before)


@check(
    "usurper",
    "When the card of a process that started later appears under its id, it stops and leaves "
    "that card alone.",
    "conformance.md, One process an id",
)
async def usurper(stage: Stage) -> None:
    card = await stage.card()
    later = {
        "agent": stage.agent,
        "incarnation": "usurper",
        "site": stage.site,
        "started_ms": max(card.started_ms, time.time_ns() // 1_000_000) + 1000,
    }
    block = b"NATS/1.0\r\nNats-TTL: 60s\r\n\r\n"
    stage.bus.send(stage.entry, codec.encode(later), "", block)
    await stage.running.ended("the card of a later process", 10.0)
    stored = await stage.bus.request(
        f"$JS.API.DIRECT.GET.{stage.subjects.registry_stream}.{stage.entry}"
    )
    holds(b"usurper" in stored.data, "the later card is left alone", stored.data or stored.block)
