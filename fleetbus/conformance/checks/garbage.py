"""Checks: nothing that arrives ends the agent, or stops it from doing its work."""

from __future__ import annotations

from random import Random
from typing import Final

from bus import codec
from bus.wire import headers as h
from fleetbus.conformance.check import Topic, equal
from fleetbus.conformance.checks.scenes import GARBAGE
from fleetbus.conformance.stage import Stage

TOPIC = Topic("garbage", GARBAGE)
check = TOPIC.check

_RNG: Final = Random(20261121)

BODIES: Final = (
    b"",
    b"\x00",
    b"\xff\xfe\xfd" * 20,
    *(_RNG.randbytes(_RNG.randint(1, 200)) for _ in range(12)),
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"-1",
    b'"text"',
    b"1e999",
    b"1" * 400,
    b"[" * 5000,
    b'{"a":' * 2000,
    b'{"id":',
    b'{"id":1,"verb":2,"args":3,"selector":4,"issued_by":5,"expires_ms":"x"}',
    b'{"id":"x","verb":"ping","args":[]}',
    b'{"id":"x","verb":"","selector":"' + b"a," * 3000 + b'"}',
    b'{"message":{"a":1}}',
    b'{"message":"' + b"x" * 20_000 + b'"}',
    b'{"agent":7,"incarnation":[],"slots":-5,"started_ms":1e300}',
    b'{"interval":-1,"lease":0,"ack_wait":"x"}',
    b'{"interval":1e308}',
    b'{"values":{"limit":' + b"[" * 500 + b"]" * 500 + b"}}",
    b'{"values":7,"selector":[]}',
    b'{"commit":{}}',
    b"x" * 100_000,
)
"""What is no message of ours, whatever subject it comes on."""

BLOCKS: Final = (
    b"",
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 999 what\r\n\r\n",
    b"NATS/1.0\r\nno colon here\r\n\r\n",
    b"NATS/1.0\r\n: no name\r\n\r\n",
    b"NATS/1.0\r\nX:" + b"y" * 30_000 + b"\r\n\r\n",
    b"NATS/1.0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(1000)) + b"\r\n",
    b"NATS/1.0\r\nX: \xff\xfe\x00\r\n\r\n",
)


async def _well(stage: Stage, incarnation: str) -> None:
    """The agent goes on as if nothing had happened."""
    equal("ping", await stage.operator.ask("ping").ok(), "pong")
    given = await stage.coordinator.give("echo", {"value": "well"})
    await given.finished("completed")
    beat = await stage.beat("an idle agent", lambda b: not b.running and not b.queued)
    equal("incarnation", beat.incarnation, incarnation)
    equal("state", beat.state, "ready")


async def _pelt(stage: Stage, *subjects: str) -> None:
    incarnation = stage.now.incarnation
    inbox = stage.bus.nc.new_inbox()
    for subject in subjects:
        for number, body in enumerate(BODIES):
            # Some with a reply subject, some without.
            stage.bus.send(subject, body, inbox if number % 2 else "")
        for block in BLOCKS[1:]:
            stage.bus.send(subject, b"{}", inbox, block)
    await stage.bus.flush()
    await _well(stage, incarnation)


@check("dispatch", "Garbage on its dispatch subject.", "Conventions")
async def dispatch(stage: Stage) -> None:
    await _pelt(stage, stage.subjects.dispatch(stage.agent))


@check("headers", "Dispatches whose headers hold what they must not.", "Conventions")
async def headers(stage: Stage) -> None:
    incarnation = stage.now.incarnation
    good = {h.TASK: "suite.g1", h.CAPABILITY: "sleep", h.ACK: "garbage.ack"}
    values = ("", "x", "-1", "1e9", "9" * 400, "a b", "\x00", "é" * 50, "$JS.ACK.x", "*", ">")
    for name in (
        h.TASK,
        h.ACK,
        h.REPLY,
        h.ATTEMPT,
        h.MAX_ATTEMPTS,
        h.DEADLINE,
        h.CAPABILITY,
        h.VIA,
        h.TRACEPARENT,
        h.CONTENT_TYPE,
        h.CALLER,
    ):
        for value in values:
            # An input that no handler takes: what is not refused is rejected.
            stage.coordinator.raw(h.encode({**good, name: value}.items()), b"garbage")
    await stage.bus.flush()
    await _well(stage, incarnation)


@check("command", "Garbage on its command subjects.", "Conventions")
async def command(stage: Stage) -> None:
    subjects = stage.subjects
    await _pelt(
        stage,
        subjects.command_all,
        subjects.command_agent(stage.agent),
        subjects.command_site(stage.site),
        subjects.command_capability("echo"),
    )


@check("cancel", "Garbage on its cancel subjects.", "Conventions")
async def cancel(stage: Stage) -> None:
    await _pelt(stage, stage.subjects.cancel("echo", "suite.nothing"))


@check("config", "Garbage as configuration, policy and head.", "Conventions")
async def config(stage: Stage) -> None:
    subjects, incarnation = stage.subjects, stage.now.incarnation
    keys = ("policy", "head", "layer.global", "layer.group.10-a", f"layer.instance.{stage.agent}")
    await _pelt(stage, *(subjects.config(key) for key in keys))
    for body in BODIES:
        for key in keys:
            await stage.operator.garbled(key, body)
    await stage.operator.policy(stage.policy)
    await stage.operator.layer(f"instance.{stage.agent}", {"limit": 3})
    await _well(stage, incarnation)
    answered = await stage.coordinator.call("limit").finished("completed")
    equal("the limit that handlers see", codec.decode(object, answered.output), 3)


@check("advert", "Garbage as adverts about it.", "Conventions")
async def advert(stage: Stage) -> None:
    await _pelt(stage, stage.subjects.advert(stage.agent))


@check("inbox", "Garbage on the inboxes that it listens on.", "Conventions")
async def inbox(stage: Stage) -> None:
    operations = stage.link.connections[-1].operations
    inboxes = [subject for verb, subject in operations if verb == "SUB" and "INBOX" in subject]
    await _pelt(stage, *(one.replace("*", "1").replace(">", "1") for one in inboxes))
