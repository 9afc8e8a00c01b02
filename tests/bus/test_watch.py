"""Watching topics, and decoding what is on them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import Bus, Client, codec
from bus.client.watch import BUFFER, TOPICS, Seen, Watch, expand, fewest, read
from bus.errors import InvalidName
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.card import Card
from bus.wire.command import Command
from bus.wire.event import Event
from bus.wire.heartbeat import CoordinatorBeat, Heartbeat
from bus.wire.result import Result
from bus.wire.task import Progress

ROOT = "fleet.dev"


def inbound(topic: str, data: bytes = b"", *fields: tuple[str, str]) -> Inbound:
    return Inbound(f"{ROOT}.{topic}", "", data, h.encode(fields) if fields else b"")


@pytest.mark.parametrize(
    ("topic", "pattern"),
    [
        ("hb", "hb.>"),
        ("hb.berlin.*", "hb.berlin.*"),
        ("task.echo.>", "task.echo.>"),
        ("*.echo", "*.echo"),
        (">", ">"),
        ("unknown", "unknown"),
    ],
)
def test_expand(topic: str, pattern: str) -> None:
    assert expand(topic) == pattern


@pytest.mark.parametrize("topic", ["", "a..b", ".a", "a.", "a b", "a\tb", ">.a", "a*", "a.>b"])
def test_expand_refuses(topic: str) -> None:
    with pytest.raises(InvalidName):
        expand(topic)


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        (["hb.>", ">"], [">"]),
        ([">", "hb.>"], [">"]),
        (["hb.>", "hb.berlin.*"], ["hb.>"]),
        (["hb.berlin.*", "hb.>"], ["hb.>"]),
        (["hb.*.a1", "hb.berlin.a1"], ["hb.*.a1"]),
        (["hb.*.a1", "hb.berlin.*"], ["hb.*.a1", "hb.berlin.*"]),
        (["hb.>", "hb"], ["hb.>", "hb"]),
        (["hb.*", "hb.>"], ["hb.>"]),
        (["a.*", "a.b.c"], ["a.*", "a.b.c"]),
        (["a", "a"], ["a"]),
    ],
)
def test_fewest(patterns: list[str], kept: list[str]) -> None:
    assert fewest(patterns) == kept


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        ("hb.berlin.a1", Heartbeat("a1", "i1", 1)),
        ("advert.a1", Card("a1", "i1")),
        ("progress.me.1", Progress("a1", 1, 1, {"n": 2})),
        ("cmd.all", Command("c1", "ping")),
        ("event.joined.a1", Event("joined", "a1", 5)),
        ("coordinator.c1", CoordinatorBeat("c1", 1.0)),
    ],
)
def test_read_decodes_what_a_topic_carries(topic: str, value: object) -> None:
    seen = read(ROOT, inbound(topic, codec.encode(value)))
    assert (seen.topic, seen.value, seen.problem) == (topic, value, "")


def test_read_decodes_results_from_headers() -> None:
    message = inbound("done.me.1", b'"out"', (h.STATE, "completed"), (h.RUN_MS, "2.5"))
    seen = read(ROOT, message)
    assert seen.value == Result("me.1", "completed", b'"out"', run_ms=2.5)
    assert seen.headers[h.STATE] == "completed"


@pytest.mark.parametrize(
    ("topic", "data", "value"),
    [
        ("task.echo.p1.me.1", b'{"text":"x"}', {"text": "x"}),
        ("task.echo.p1.me.1", b"plain text", "plain text"),
        ("task.echo.p1.me.1", b"\xff\x00", b"\xff\x00"),
        ("task.echo.p1.me.1", b"", None),
        ("advert.a1", b"", None),
    ],
)
def test_read_makes_of_a_payload_what_it_can(topic: str, data: bytes, value: object) -> None:
    assert read(ROOT, inbound(topic, data)).value == value


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (inbound("hb.berlin.a1", b'{"agent":5}'), "hb"),
        (inbound("done.me.1", b"x"), "Fleet-State"),
        (Inbound(f"{ROOT}.task.x", "", b"1", b"garbage"), "headers"),
    ],
)
def test_read_says_why_it_cannot(message: Inbound, problem: str) -> None:
    seen = read(ROOT, message)
    assert problem in seen.problem


@given(st.sampled_from(sorted(TOPICS)), st.text(max_size=20), st.binary(max_size=60), st.binary())
def test_read_never_raises(topic: str, rest: str, data: bytes, block: bytes) -> None:
    seen = read(ROOT, Inbound(f"{ROOT}.{topic}.{rest}", "", data, block))
    assert seen.topic.startswith(topic)


async def test_each_message_comes_once(bus: Bus) -> None:
    async with Watch(bus, "event.>", "event", "event.joined.a1", "hb") as watch:
        bus.send(bus.subjects.event("joined", "a1"), codec.encode(Event("joined", "a1", 1)))
        bus.send(bus.subjects.heartbeat("s", "a1"), codec.encode(Heartbeat("a1", "i", 1)))
        bus.send(bus.subjects.progress("me.1"), b"{}")
        bus.send(bus.subjects.heartbeat("s", "a2"), codec.encode(Heartbeat("a2", "i", 1)))
        async with asyncio.timeout(5):
            seen = [one.topic async for one in first(watch, 3)]
    assert seen == ["event.joined.a1", "hb.s.a1", "hb.s.a2"]


async def first(watch: Any, count: int) -> Any:
    async for one in watch:
        yield one
        count -= 1
        if not count:
            return


async def test_without_topics_it_is_the_whole_fleet_and_no_other(bus: Bus) -> None:
    async with Watch(bus) as watch:
        bus.send("fleet.another.hb.s.a1", b"{}")
        bus.send(bus.subjects.command_all, codec.encode(Command("c1", "ping")))
        async with asyncio.timeout(5):
            (seen,) = [one async for one in first(watch, 1)]
    assert isinstance(seen, Seen)
    assert seen.topic == "cmd.all"
    assert isinstance(seen.value, Command)


async def test_it_unsubscribes(bus: Bus) -> None:
    before = len(bus.nc._subs)
    async with Watch(bus, "hb", "event"):
        assert len(bus.nc._subs) == before + 2
    assert len(bus.nc._subs) == before


async def test_one_that_does_not_read_misses_some_and_counts_them(bus: Bus) -> None:
    async with Watch(bus, "progress") as watch:
        for _ in range(BUFFER + 5):
            bus.send(bus.subjects.progress("me.1"), b"1")
        await bus.flush()
        assert watch.missed == 5
        assert bus.dropped == 5


async def test_a_client_watches(client: Client) -> None:
    watching = client.watch("progress")
    pending = asyncio.ensure_future(anext(watching))
    async with asyncio.timeout(5):
        while not pending.done():
            client.bus.send(
                client.bus.subjects.progress("me.1"), b'{"agent":"a","attempt":1,"seq":1}'
            )
            await asyncio.sleep(0.01)
        assert pending.result().value == Progress("a", 1, 1)
    with pytest.raises(InvalidName):
        await anext(client.watch("two words"))
