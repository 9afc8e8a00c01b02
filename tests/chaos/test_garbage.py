"""Anything may come in on any subject: nothing dies, it is counted, and the work goes on."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.errors import DecodeError, TaskNotFound
from bus.testing import eventually
from tests.support.garbage import GARBAGE
from tests.support.stage import Stage

pytestmark = pytest.mark.fault

OK = b'{"text": "odd"}'
END = b"\r\n\r\n"


async def test_a_client_cannot_forge_what_coordinators_say(stage: Stage) -> None:
    """Headers that route, acknowledge or probe are taken out of a task that brings its own."""
    heard: list[str] = []
    spy = await stage.client.bus.listen("spy.>", lambda message: heard.append(message.subject))
    forged = {
        "Fleet-Ack": "spy.ack",
        "Fleet-Reply": "spy.reply",
        "Fleet-Probe": "c1",
        "Fleet-Task": "somebody.else",
        "Fleet-Attempt": "99",
        "Fleet-Via": "c9",
        "Fleet-Capability": "other",
        "Fleet-Incarnation": "x",
        "Fleet-Busy": "full",
        "Fleet-State": "completed",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in forged.items())
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    assert await stage.raw.publish(stage.subject("task.echo.p1.raw.7"), OK, block)

    async def done() -> bool:
        try:
            return not isinstance(await stage.client.get("raw.7"), str)
        except TaskNotFound:
            return False

    await eventually(done)
    result = await stage.client.get("raw.7")
    assert not isinstance(result, str)
    assert (result.value(), result.attempt, result.agent) == ("odd", 1, "a1")
    answer = await stage.client.bus.request(f"fleet.{stage.fleet}.call.echo", OK, block, timeout=5)
    assert answer.data == b'"odd"'
    await stage.works()
    assert heard == []
    await stage.client.bus.unlisten(spy)


async def test_a_registry_entry_with_a_name_that_is_none(stage: Stage) -> None:
    """Its names would become part of what the coordinators ask the server."""
    for key, card in (
        ("evil", {"agent": "evil", "incarnation": "i", "capabilities": [{"name": "a b c"}]}),
        ("evil", {"agent": "evil", "incarnation": "i", "capabilities": [{"name": ""}]}),
        ("evil", {"agent": "evil", "incarnation": "i", "capabilities": [{"name": "x" * 65}]}),
        ("evil", {"agent": "a1", "incarnation": "i"}),
        ("ev$il", {"agent": "ev$il", "incarnation": "i"}),
        ("evil", {"agent": "evil", "incarnation": "i", "slots": 10**9}),
        ("evil", {"agent": "evil", "incarnation": "i", "labels": {"a": 1}}),
        ("evil", []),
    ):
        before = stage.coordinator.bus.dropped
        subject = f"$KV.REGISTRY_{stage.fleet}.{key}".encode()
        await stage.raw.publish(subject, json.dumps(card).encode())
        await eventually(lambda before=before: stage.coordinator.bus.dropped > before)  # type: ignore[misc]
        await stage.works()
    assert [card.agent for card in await stage.client.agents()] == ["a1"]
    assert list(stage.coordinator.view.agents) == ["a1"]


async def test_a_result_that_cannot_be_read_is_told_to_who_waits(stage: Stage) -> None:
    handle = await stage.client.submit("nobody-does-this")
    before = stage.client.bus.dropped
    forged = stage.subject(f"done.{handle.id}")
    # Said only, and not stored: it is not believed.
    assert await stage.raw.publish(forged, b"?", b"NATS/1.0\r\nFleet-State: perfect" + END)
    await eventually(lambda: stage.client.bus.dropped > before)
    assert not handle.finished.done()
    stored = stage.subject(f"result.{handle.id}")
    assert await stage.raw.publish(stored, b"?", b"NATS/1.0\r\nFleet-State: working" + END)
    with pytest.raises(DecodeError, match="not how a task ends"):
        await handle.outcome(timeout=5)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batch=st.lists(GARBAGE, min_size=5, max_size=25))
async def test_garbage_on_every_subject(
    stage: Stage, batch: list[tuple[str, bytes, bytes | None, bytes]]
) -> None:
    names = {
        "fleet": stage.fleet,
        "client": stage.client.id,
        "pulls": stage.coordinator.puller._inbox,
        "refusals": stage.coordinator.dispatcher._inbox,
    }
    for place, data, block, reply in batch:
        filled = place.format(**names)
        subject = filled[1:].encode() if filled.startswith(">") else stage.subject(filled)
        await stage.raw.publish(subject, data, block, reply)
    await stage.works()


async def test_garbage_is_counted(stage: Stage) -> None:
    buses = (stage.coordinator.bus, stage.agent.bus, stage.client.bus)
    waits = await stage.client.submit("nobody-does-this")
    before = [bus.dropped for bus in buses]
    for rest in (
        "hb.default.a1",
        "advert.a1",
        "coordinator.c2",
        "call.echo",
        "cmd.all",
        "cancel.echo.raw.1",
        "config.policy",
        "dispatch.a1",
        f"progress.{waits.id}",
        f"done.{waits.id}",
    ):
        for data in (b"", b"\xff\x00", b'{"agent": 5', b"[]", b'{"agent": []}'):
            await stage.raw.publish(stage.subject(rest), data)
        await stage.raw.publish(stage.subject(rest), b"", b"NATS/1.0\r\nFleet-Probe: x" + END)
        await stage.raw.publish(stage.subject(rest) + b"\xff", b"{}")
    await stage.works()
    risen = [bus.dropped - was for bus, was in zip(buses, before, strict=True)]
    assert all(count >= 5 for count in risen), risen
