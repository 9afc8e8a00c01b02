"""Overrides: set for a time, shown as such, refused when they make the configuration bad."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from agent_runtime import Agent, configuration, overrides
from agent_runtime.overrides import Entries, InvalidOverride
from bus import Bus
from bus.config.merge import merged
from bus.testing import eventually
from tests.conftest import Join
from tests.support.configuring import Desk


class Settings(msgspec.Struct):
    colour: str = "red"
    limit: int = 1


@pytest.fixture
async def desk(bus: Bus) -> Desk:
    return await Desk(bus).start()


def laid(*sets: dict[str, Any], ttl: float = 10.0) -> Entries:
    entries: Entries = ()
    for number, values in enumerate(sets):
        entries = overrides.laid(entries, values, "ann", ttl, 100.0 + number, 1000)
    return entries


@pytest.mark.parametrize(
    ("sets", "paths", "made"),
    [
        (({"x": 1},), ["x"], {"x": 1, "b": {"c": 1}}),
        (({"b": {"c": 2, "d": 3}},), ["b.c", "b.d"], {"b": {"c": 2, "d": 3}}),
        (({"b": {"c": None}},), ["b.c"], {"b": {}}),
        (({"b": {}},), ["b"], {"b": {"c": 1}}),
        (({"b": [1, 2]},), ["b"], {"b": [1, 2]}),
        (({"a.b": {"c d": 1}},), ['"a.b"."c d"'], {"a.b": {"c d": 1}, "b": {"c": 1}}),
        # The later one wins, above or below.
        (({"b": {"c": 2}}, {"b": 1}), ["b.c", "b"], {"b": 1}),
        (({"b": 1}, {"b": {"d": 2}}), ["b", "b.d"], {"b": {"d": 2}}),
        (({"x": 1}, {"y": 1}, {"x": 2}), ["y", "x"], {"x": 2, "y": 1, "b": {"c": 1}}),
    ],
)
def test_what_they_make(
    sets: tuple[dict[str, Any], ...], paths: list[str], made: dict[str, Any]
) -> None:
    entries = laid(*sets)
    assert [one.override.path for one in entries] == paths
    assert merged([{"b": {"c": 1}}, *overrides.patches(entries)]) == made


@pytest.mark.parametrize(
    ("keys", "gone"),
    [
        ((), ["a", "b.c", "b.d", '"b.c"']),
        (("b",), ["b.c", "b.d"]),
        (("b.c",), ["b.c"]),
        (('"b.c"', "a"), ["a", '"b.c"']),
        (("nothing", "b.c.e"), []),
    ],
)
def test_what_is_cleared(keys: tuple[str, ...], gone: list[str]) -> None:
    entries = laid({"a": 1, "b": {"c": 1, "d": 1}, "b.c": 1})
    kept, names = overrides.cleared(entries, keys)
    assert names == gone
    assert len(kept) + len(gone) == 4


def test_bounds() -> None:
    with pytest.raises(InvalidOverride, match="nothing to set"):
        laid({})
    assert [one.override.value for one in laid({"a": {}})] == [{}]
    full = laid({str(n): n for n in range(overrides.MOST)})
    with pytest.raises(InvalidOverride, match="more than 1000"):
        overrides.laid(full, {"x": 1}, "ann", 1.0, 0.0, 0)
    assert overrides.laid(full, {"7": 1}, "ann", 1.0, 0.0, 0)
    assert overrides.alive(laid({"a": 1}, {"b": 1}), 110.0) == laid({"a": 1}, {"b": 1})[1:]
    assert overrides.alive(laid({"a": 1}), 109.9) == laid({"a": 1})


async def test_override_is_set_shown_and_ends_by_itself(desk: Desk, join: Join) -> None:
    await desk.put("global", {"colour": "blue"})
    agent = Agent("a", config=Settings)
    calls: list[tuple[Any, Any]] = []

    @agent.on_config("colour")
    async def see(new: Any, old: Any) -> None:
        calls.append((new, old))

    await join(agent)
    before = await desk.report("a")
    now = time.time() * 1000
    reply = await desk.ask(
        "a", "config-override", {"values": {"colour": "green", "limit": 5}, "ttl": 1.5}, by="bob"
    )
    assert reply.state == "ok", reply.error
    assert reply.output["set"] == ["colour", "limit"]
    assert agent.config == Settings("green", 5)
    report = await desk.report("a")
    assert report.hash == before.hash
    assert [(one.path, one.value, one.by) for one in report.overrides] == [
        ("colour", "green", "bob"),
        ("limit", 5, "bob"),
    ]
    for one in report.overrides:
        assert abs(one.since_ms - now) < 1000
        assert one.until_ms - one.since_ms == 1500
        assert one.until_ms == reply.output["until_ms"]
    await desk.says("a", overrides=2, config=before.hash)
    # A change below it is applied, and stays hidden until it ends.
    await desk.put("global", {"colour": "black", "limit": 2})
    await eventually(lambda: desk.beats["a"].config != before.hash)
    assert agent.config == Settings("green", 5)
    await desk.says("a", overrides=0)
    assert agent.config == Settings("black", 2)
    assert time.time() * 1000 >= reply.output["until_ms"] - 20
    assert calls == [("blue", None), ("green", "blue"), ("black", "green")]
    assert desk.events == []


async def test_one_that_makes_the_configuration_bad_is_not_kept(desk: Desk, join: Join) -> None:
    agent = Agent("a", config=Settings)
    await join(agent)
    reply = await desk.ask("a", "config-override", {"values": {"limit": "many"}, "ttl": 60})
    assert reply.state == "failed"
    assert reply.error == "ConfigRejected: limit: Expected `int`, got `str`"
    report = await desk.report("a")
    assert (report.state, report.overrides, report.rejected) == ("ok", (), None)
    assert agent.config == Settings()
    # The next one is not held up by it.
    reply = await desk.ask("a", "config-override", {"values": {"limit": 3}, "ttl": 60})
    assert reply.state == "ok"
    assert agent.config.limit == 3


@pytest.mark.parametrize(
    ("verb", "args", "state", "text"),
    [
        ("config-override", {"values": {"x": 1}}, "rejected", "ttl"),
        ("config-override", {"values": {"x": 1}, "ttl": 0}, "rejected", "ttl: "),
        ("config-override", {"values": {"x": 1}, "ttl": -1}, "rejected", "ttl: "),
        ("config-override", {"values": {"x": 1}, "ttl": 604801}, "rejected", "ttl: "),
        ("config-override", {"values": {"x": 1}, "ttl": "1h"}, "rejected", "ttl: "),
        ("config-override", {"values": [1], "ttl": 1}, "rejected", "values: "),
        ("config-override", {"values": {}, "ttl": 1}, "failed", "InvalidOverride: values: nothing"),
        ("config-clear", {"keys": "x"}, "rejected", "keys: "),
        ("config-clear", {"keys": ["a..b"]}, "failed", "InvalidPath: key 'a..b'"),
        ("config", {"x": 1}, "rejected", "x: "),
    ],
)
async def test_bad_arguments(
    desk: Desk, join: Join, verb: str, args: dict[str, Any], state: str, text: str
) -> None:
    await join(Agent("a"))
    reply = await desk.ask("a", verb, args)
    assert reply.state == state
    assert text in reply.error


async def test_clear(desk: Desk, join: Join) -> None:
    agent = Agent("a")
    await join(agent)
    values = {"x": 1, "llm": {"model": "m", "limit": 2}}
    await desk.ask("a", "config-override", {"values": values, "ttl": 604800})
    assert agent.config == values
    assert (await desk.ask("a", "config-clear", {"keys": ["llm"]})).output == [
        "llm.model",
        "llm.limit",
    ]
    assert agent.config == {"x": 1}
    assert (await desk.ask("a", "config-clear", {"keys": ["llm"]})).output == []
    assert (await desk.ask("a", "config-clear")).output == ["x"]
    assert agent.config == {}
    await desk.says("a", overrides=0)


async def test_restart_loses_them(desk: Desk, nats_url: str, fleet: str) -> None:
    agent = Agent("a")
    for _ in range(2):
        async with agent.connect(nats_url, fleet):
            assert agent.config == {}
            await desk.ask("a", "config-override", {"values": {"x": 1}, "ttl": 60})
            assert agent.config == {"x": 1}


async def test_they_come_and_go_on_the_last_good_one(desk: Desk, join: Join) -> None:
    agent = Agent("a", config=Settings)
    await join(agent)
    await desk.put("global", {"colour": 7})
    await eventually(lambda: len(desk.events) == 1)
    reply = await desk.ask("a", "config-override", {"values": {"limit": 3}, "ttl": 60})
    assert reply.state == "ok", reply.error
    assert agent.config == Settings("red", 3)
    report = await desk.report("a")
    assert (report.state, len(report.overrides)) == ("rejected", 1)
    # One that mends what is wrong puts the new one in force.
    reply = await desk.ask("a", "config-override", {"values": {"colour": "x"}, "ttl": 60})
    assert reply.state == "ok", reply.error
    assert agent.config == Settings("x", 3)
    assert (await desk.report("a")).state == "ok"
    await eventually(lambda: [one.kind for one in desk.events][1:] == ["config.accepted"])
    # Without it nothing is good any more, so it cannot be taken away.
    reply = await desk.ask("a", "config-clear", {"keys": ["colour"]})
    assert reply.state == "failed"
    assert "colour: Expected `str`, got `int`" in reply.error
    assert agent.config == Settings("x", 3)
    assert len((await desk.report("a")).overrides) == 2


async def test_end_of_one_that_is_needed_is_a_rejection(desk: Desk, join: Join) -> None:
    await desk.put("global", {"colour": 7})
    agent = Agent("a", config=Settings)
    await join(agent)
    await desk.says("a", state="draining")
    reply = await desk.ask("a", "config-override", {"values": {"colour": "x"}, "ttl": 0.3})
    assert reply.state == "ok", reply.error
    await desk.says("a", state="ready", overrides=1, rejected="")
    beat = await desk.says("a", overrides=1, state="ready", rejected=desk.beats["a"].config)
    assert beat.rejected
    assert agent.config == Settings("x")
    kinds = ["config.rejected", "config.accepted", "config.rejected"]
    await eventually(lambda: [one.kind for one in desk.events] == kinds)


async def test_what_is_in_force_is_tried_once_when_an_override_ends(desk: Desk, join: Join) -> None:
    tries: list[str] = []

    async def resolver(rest: str) -> str:
        tries.append(rest)
        return "x"

    await desk.put("global", {"colour": 7, "key": "secret://own/key"})
    agent = Agent("a", config=Settings, secrets={"own": resolver})
    await join(agent)
    await desk.ask("a", "config-override", {"values": {"colour": "x"}, "ttl": 0.3})
    await desk.says("a", overrides=1, rejected="")
    before = len(tries)
    await desk.says("a", overrides=1, rejected=desk.beats["a"].config)
    assert (before, len(tries)) == (2, 3)


async def test_override_that_would_come_too_late_never_comes(
    desk: Desk, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "TURN", 0.1)
    busy, go_on = asyncio.Event(), asyncio.Event()
    agent = Agent("a", config=Settings)

    @agent.on_config("limit")
    async def slow(new: int, old: int | None) -> None:
        if new == 2:
            busy.set()
            await go_on.wait()

    await join(agent)
    await desk.put("global", {"limit": 2})
    await busy.wait()
    reply = await desk.ask("a", "config-override", {"values": {"colour": "blue"}, "ttl": 60})
    assert (reply.state, "nothing was changed" in reply.error) == ("failed", True)
    go_on.set()
    await eventually(lambda: agent.config.limit == 2)
    assert agent.config.colour == "red"
