"""``fleetbus watch`` as a process."""

from __future__ import annotations

import json
import signal

import pytest

from bus import Client, codec
from bus.client.watch import TOPICS, Seen
from bus.wire.event import Event
from bus.wire.heartbeat import Heartbeat
from bus.wire.result import Result
from coordinator import Coordinator
from fleetbus.watch import COLOURS, SHOWN, line, record
from tests.conftest import Join
from tests.e2e.test_task_path import echo_agent
from tests.support.cli import fleetbus, started


def test_every_topic_has_a_colour() -> None:
    assert COLOURS.keys() == TOPICS.keys()


def test_a_line_is_compact_and_cannot_drive_a_terminal() -> None:
    seen = Seen(0.25, "event.joined.a1", Event("joined", "\x1b[2J", 5), {})
    text = line(seen).plain
    assert ".250 event.joined.a1 " in text
    assert "\x1b" not in text
    assert '"by"' not in text
    long = line(Seen(0.0, "task.x", "x" * 5000, {"a": "b"}), headers=True).plain
    assert len(long) < SHOWN + 100
    assert "(5000 characters)" in long
    assert "[a=b]" in long


def test_a_record_is_complete() -> None:
    result = Result("me.1", "completed", b'{"n":1}', agent="a1")
    found = record(Seen(1.0, "done.me.1", result, {}))
    assert found["value"]["output"] == {"n": 1}
    assert "problem" not in found
    broken = Result("me.1", "completed", b"{", agent="a1")
    assert record(Seen(1.0, "done.me.1", broken, {}, "bad"))["problem"] == "bad"
    assert record(Seen(1.0, "hb.s.a1", Heartbeat("a1", "i", 1), {}))["value"]["running"] == 0


async def test_help_lists_the_topics() -> None:
    done = await fleetbus("watch", "--help", COLUMNS="200")
    assert done.status == 0
    for name, what in TOPICS.items():
        assert f"{name}: {what}" in done.out


async def test_it_follows_a_task(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(echo_agent())
    options = ("-u", nats_url, "-f", fleet)
    async with started("watch", "task", "done", "--json", "--count", "2", *options) as run:
        await run.says(f"watching task, done in fleet '{fleet}'")
        handle = await client.submit("echo", {"text": "hi"})
        await handle.result(timeout=5)
        await run.says('"topic":"done')
        assert await run.process.wait() == 0
    first, second = [json.loads(one) for one in run.lines if one.startswith("{")]
    assert first["topic"] == f"task.echo.p1.{handle.id}"
    assert first["value"] == {"text": "hi"}
    assert first["headers"]["Nats-Msg-Id"] == handle.id
    assert second["value"]["state"] == "completed"
    assert second["value"]["output"] == "hi"
    assert second["value"]["agent"] == "a1"


async def test_people_get_a_line_each_until_ctrl_c(
    nats_url: str, fleet: str, client: Client
) -> None:
    async with started("watch", "event", "nonsense", "-u", nats_url, "-f", fleet) as run:
        await run.says("watching event, nonsense")
        assert "there is no topic 'nonsense'" in run.text
        subject = client.bus.subjects.event("joined", "a1")
        client.bus.send(subject, codec.encode(Event("joined", "a1", 5)))
        client.bus.send(subject, b"\xff garbage")
        shown = await run.says('event.joined.a1 {"kind":"joined"')
        assert "\x1b" not in shown
        await run.says("(event: ")
        assert await run.end(signal.SIGINT) == 130
        assert "Traceback" not in run.text


async def test_timeout(nats_url: str, fleet: str) -> None:
    options = ("-u", nats_url, "-f", fleet)
    done = await fleetbus("watch", "audit", "--timeout", "0.2", *options)
    assert (done.status, done.out) == (0, "")
    done = await fleetbus("watch", "audit", "--timeout", "0.2", "--count", "3", *options)
    assert done.status == 4
    assert "saw 0 of 3" in done.err


@pytest.mark.parametrize("topic", ["a..b", "two words"])
async def test_a_topic_that_cannot_be(nats_url: str, fleet: str, topic: str) -> None:
    done = await fleetbus("watch", topic, "-u", nats_url, "-f", fleet)
    assert done.status == 2
    assert f"topic name {topic!r} is not allowed" in done.err
