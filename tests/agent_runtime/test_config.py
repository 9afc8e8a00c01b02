"""Configurations as a running agent applies them, refuses them and says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, assert_type

import msgspec
import pytest

from agent_runtime import Agent, callbacks, offer
from bus import Bus, Client, codec
from bus.client import registry
from bus.config import Effective, Layers
from bus.errors import CapabilityError, FleetError
from bus.testing import eventually
from bus.wire.heartbeat import FleetPolicy
from coordinator import Coordinator
from tests.conftest import Join
from tests.support.configuring import Desk


class Llm(msgspec.Struct):
    model: str = "small"
    limit: int = 10


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    llm: Llm = msgspec.field(default_factory=Llm)
    colour: str = "red"


class Needy(msgspec.Struct):
    url: str


@pytest.fixture
async def desk(bus: Bus) -> Desk:
    return await Desk(bus).start()


def recording(agent: Agent, key: str, calls: list[tuple[str, Any, Any]]) -> None:
    @agent.on_config(key)
    async def record(new: Any, old: Any) -> None:
        calls.append((key, new, old))


async def test_layers_are_laid_over_each_other_and_reported(desk: Desk, join: Join) -> None:
    await desk.put("global", {"llm": {"model": "a", "limit": 3}, "gone": 1})
    await desk.put("group.10-edge", {"llm": {"model": "b"}}, "site=berlin")
    await desk.put("group.20-other", {"llm": {"model": "never"}}, "site=paris")
    await desk.put("instance.a", {"gone": None})
    await desk.put("instance.b", {"llm": {"model": "never"}})
    agent = Agent("a", site="berlin")
    await join(agent)
    assert assert_type(agent.config, dict[str, Any]) == {"llm": {"model": "b", "limit": 3}}
    report = await desk.report("a")
    assert (report.state, report.commit, report.overrides) == ("ok", "", ())
    assert report.applied_ms > 0
    await desk.says("a", config=report.hash, commit="", overrides=0, rejected="", state="ready")


async def test_no_configuration_at_all_is_an_empty_one(desk: Desk, join: Join) -> None:
    agent = Agent("a", config=Settings)
    await join(agent)
    assert agent.config == Settings()
    assert (await desk.report("a")).hash == "44136fa355b3678a"  # sha256 of {}


async def test_changes_are_applied_while_it_runs(desk: Desk, join: Join) -> None:
    agent = Agent("a", config=Settings)
    await join(agent)
    await desk.put("fleet", {"llm": {"model": "b"}})
    await eventually(lambda: agent.config.llm.model == "b")
    await desk.put("fleet", None)
    await eventually(lambda: agent.config.llm.model == "small")


async def test_heartbeat_names_commit_and_versions(desk: Desk, join: Join) -> None:
    agent = Agent("a")

    async def say(text: str) -> str:
        return text

    agent.offer(offer(say, version="1.2.0"))
    runtime = await join(agent)
    await desk.commit("0123456789abcdef0123", **{"global": {"x": 1}})
    await desk.says("a", commit="0123456789ab", versions={"say": "1.2.0"})
    # The same values from another commit are another commit all the same.
    before = desk.beats["a"].config
    await desk.commit("fedcba98765432100123", fleet={"x": 1})
    await desk.says("a", commit="fedcba987654", config=before)
    await runtime.add(offer(say, "more", version="2"))
    await desk.says("a", versions={"say": "1.2.0", "more": "2"})
    report = await desk.report("a")
    assert report.commit == "fedcba98765432100123"
    assert report.versions == {"say": "1.2.0", "more": "2"}


async def test_callbacks_are_told_of_what_changed_at_their_path(desk: Desk, join: Join) -> None:
    await desk.put("global", {"llm": {"model": "a"}})
    agent = Agent("a", config=Settings)
    calls: list[tuple[str, Any, Any]] = []
    for key in ("llm.model", "colour", "", "llm.nothing"):
        recording(agent, key, calls)
    plain: list[Any] = []

    @agent.on_config("llm")
    def in_a_thread(new: Any, old: Any) -> None:
        plain.append((new, old))

    await join(agent)
    first = Settings(Llm("a"))
    assert calls == [
        ("llm.model", "a", None),
        ("colour", "red", None),
        ("", first, None),
        ("llm.nothing", None, None),
    ]
    assert plain == [(Llm("a"), None)]
    calls.clear()
    await desk.put("global", {"llm": {"model": "b"}})
    await eventually(lambda: agent.config.llm.model == "b")
    assert calls == [("llm.model", "b", "a"), ("", Settings(Llm("b")), first)]
    assert plain[1:] == [(Llm("b"), Llm("a"))]


async def test_first_callbacks_run_before_the_agent_joins(
    desk: Desk, nats_url: str, fleet: str
) -> None:
    agent = Agent("a")
    cards: list[list[Any]] = []

    @agent.on_config()
    async def look(new: Any, old: Any) -> None:
        cards.append([one async for one in registry.cards(desk.bus)])

    async with agent.connect(nats_url, fleet):
        cards.append([one async for one in registry.cards(desk.bus)])
    assert [len(found) for found in cards] == [0, 1]


async def test_bad_one_leaves_the_last_good_one_in_force(desk: Desk, join: Join) -> None:
    agent = Agent("a", config=Settings)
    await join(agent)
    await desk.commit("c" * 40, **{"global": {"colour": "blue"}})
    await eventually(lambda: agent.config.colour == "blue")
    good = (await desk.report("a")).hash
    await desk.commit("d" * 40, **{"global": {"colour": 7}})
    beat = await desk.says("a", config=good, commit="c" * 12, state="ready")
    await eventually(lambda: desk.events)
    event = desk.events[0]
    assert (event.kind, event.subject_id) == ("config.rejected", "a")
    assert event.data["commit"] == "d" * 40
    assert event.data["reason"] == "colour: Expected `str`, got `int`"
    beat = await desk.says("a", rejected=event.data["hash"], config=good)
    assert beat.state == "ready"
    assert agent.config.colour == "blue"
    report = await desk.report("a")
    assert (report.state, report.hash, report.commit) == ("rejected", good, "c" * 40)
    assert report.rejected is not None
    assert report.rejected.hash == event.data["hash"]
    assert report.rejected.commit == "d" * 40
    assert report.rejected.reason == event.data["reason"]
    # The same values again, by another commit: nothing is called, but all is well.
    await desk.commit("e" * 40, **{"global": {"colour": "blue"}})
    await desk.says("a", config=good, rejected="", commit="e" * 12)
    await eventually(lambda: len(desk.events) == 2)
    assert desk.events[1].kind == "config.accepted"
    assert desk.events[1].data["commit"] == "e" * 40


async def test_failing_callback_rolls_the_others_back(desk: Desk, join: Join) -> None:
    await desk.put("global", {"llm": {"model": "a"}})
    agent = Agent("a", config=Settings)
    calls: list[tuple[str, Any, Any]] = []
    recording(agent, "llm.model", calls)
    recording(agent, "llm", calls)

    @agent.on_config("llm.model")
    def refuse(new: str, old: str | None) -> None:
        if new == "bad":
            raise OSError("no such model")

    recording(agent, "", calls)
    await join(agent)
    calls.clear()
    await desk.put("global", {"llm": {"model": "bad"}})
    await eventually(lambda: desk.events)
    reason = desk.events[0].data["reason"]
    assert "refuse for llm.model: OSError: no such model" in reason
    bad, good = Llm("bad"), Llm("a")
    assert calls == [
        ("llm.model", "bad", "a"),
        ("llm", bad, good),
        ("llm", good, bad),
        ("llm.model", "a", "bad"),
    ]
    assert agent.config.llm.model == "a"
    calls.clear()
    await desk.put("global", {"llm": {"model": "b"}})
    await eventually(lambda: agent.config.llm.model == "b")
    assert [key for key, _, _ in calls] == ["llm.model", "llm", ""]


async def test_callback_that_takes_too_long(
    desk: Desk, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "TIME", 0.2)
    agent = Agent("a")
    ended: list[str] = []

    @agent.on_config("x")
    async def hang(new: Any, old: Any) -> None:
        if new == 1:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("interrupted")

    await join(agent)
    await desk.put("global", {"x": 1})
    await eventually(lambda: desk.events)
    assert "hang for x: it did not return within 0.2 s" in desk.events[0].data["reason"]
    assert ended == ["interrupted"]
    assert agent.config == {}


async def test_leaving_does_not_wait_for_a_callback(desk: Desk, nats_url: str, fleet: str) -> None:
    agent = Agent("a")
    seen: list[str] = []

    @agent.on_config("x")
    async def hang(new: Any, old: Any) -> None:
        if new == 1:
            try:
                seen.append("begun")
                await asyncio.sleep(60)
            finally:
                seen.append("ended")

    async with asyncio.timeout(10), agent.connect(nats_url, fleet):
        await desk.put("global", {"x": 1})
        await eventually(lambda: seen == ["begun"])
    assert seen == ["begun", "ended"]
    assert agent.config == {}


async def test_failing_start_leaves_nothing_running(desk: Desk, nats_url: str, fleet: str) -> None:
    before = asyncio.all_tasks()
    agent = Agent("a")

    @agent.on_config()
    async def usurp(new: Any, old: Any) -> None:
        # What comes after the configuration is broken: the registry cannot be written.
        await desk.bus.api(f"STREAM.DELETE.{desk.bus.subjects.registry_stream}")

    with pytest.raises((FleetError, TimeoutError)):
        await agent.connect(nats_url, fleet, request_timeout=0.5).__aenter__()
    await eventually(lambda: asyncio.all_tasks() <= before)


async def test_change_is_reported_long_before_the_next_heartbeat_is_due(
    desk: Desk, join: Join
) -> None:
    await desk.garbage("policy", codec.encode(FleetPolicy(interval=600, agents=2500)))
    agent = Agent("a")
    runtime = await join(agent)
    assert runtime.presence.spread == 0.5
    await desk.put("global", {"x": 1})
    await eventually(lambda: agent.config == {"x": 1})
    await desk.says("a", config=runtime.configured.report().hash)
    assert desk.beats["a"].next_in > 400


async def test_failure_while_calling_back_is_logged_and_the_rest_is_called_back(
    desk: Desk, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent("a")
    calls: list[tuple[str, Any, Any]] = []
    recording(agent, "x", calls)

    @agent.on_config("x")
    async def one_way(new: Any, old: Any) -> None:
        if new is None and old == 1:
            raise ValueError("there is no way back")

    @agent.on_config("x")
    async def refuse(new: Any, old: Any) -> None:
        if new == 1:
            raise ValueError("no")

    await join(agent)
    calls.clear()
    with caplog.at_level(logging.ERROR, "fleetbus.agent"):
        await desk.put("global", {"x": 1})
        await eventually(lambda: desk.events)
    assert calls == [("x", 1, None), ("x", None, 1)]
    assert "one_way for x could not be called back: ValueError: there is no way" in caplog.text


async def test_of_several_changes_the_newest_wins(desk: Desk, join: Join) -> None:
    agent = Agent("a")
    go, calls = asyncio.Event(), list[Any]()

    @agent.on_config("x")
    async def slow(new: Any, old: Any) -> None:
        calls.append(new)
        if new == 1:
            await go.wait()

    runtime = await join(agent)
    await desk.put("global", {"x": 1})
    await eventually(lambda: calls == [None, 1])
    last = 0
    for x in range(2, 9):
        last = await desk.put("global", {"x": x})
    heard = runtime.configured.feed.followed
    await eventually(lambda: heard.revisions["layer.global"] == last)
    go.set()
    await eventually(lambda: agent.config == {"x": 8})
    assert calls == [None, 1, 8]


async def test_without_a_good_one_it_joins_and_waits(
    desk: Desk, join: Join, client: Client, coordinator: Coordinator
) -> None:
    agent = Agent("a", config=Needy)

    @agent.capability()
    async def where() -> str:
        return agent.config.url

    runtime = await join(agent)
    assert runtime.intake.state == "draining"
    beat = await desk.says("a", state="draining", config="")
    assert beat.rejected == "44136fa355b3678a"
    with pytest.raises(FleetError, match="agent a has no configuration yet"):
        _ = agent.config
    report = await desk.report("a")
    assert (report.state, report.hash) == ("waiting", "")
    assert report.rejected is not None
    assert "url" in report.rejected.reason
    await eventually(lambda: desk.events)
    assert desk.events[0].kind == "config.rejected"
    handle = await client.submit("where", {})
    # What an operator says of taking tasks is another matter.
    assert (await desk.ask("a", "resume")).output == "waiting for a good configuration"
    assert runtime.intake.state == "draining"
    await desk.put("global", {"url": "nats://x"})
    assert await handle.result(timeout=10) == "nats://x"
    await desk.says("a", state="ready", rejected="")
    assert (await desk.report("a")).state == "ok"


async def test_draining_outlasts_waiting(desk: Desk, join: Join) -> None:
    runtime = await join(Agent("a", config=Needy))
    assert (await desk.ask("a", "drain")).state == "ok"
    await desk.put("global", {"url": "x"})
    await eventually(lambda: runtime.configured.current.state == "ok")
    await desk.says("a", state="draining", rejected="")
    await desk.ask("a", "resume")
    await desk.says("a", state="ready")


async def test_defaults_nobody_asked_for_are_no_last_good_one(desk: Desk, join: Join) -> None:
    await desk.put("global", {"colour": 7})
    runtime = await join(Agent("a", config=Settings))
    assert runtime.configured.current.state == "waiting"
    await desk.says("a", state="draining", config="")


async def test_selectors_are_asked_again_when_capabilities_change(desk: Desk, join: Join) -> None:
    await desk.put("group.10-painters", {"brush": "fine"}, "cap=paint")
    agent = Agent("a")
    runtime = await join(agent)
    assert agent.config == {}

    async def paint() -> None: ...

    await runtime.add(offer(paint))
    await eventually(lambda: agent.config == {"brush": "fine"})
    await runtime.remove("paint")
    await eventually(lambda: agent.config == {})


async def test_group_that_does_not_match_costs_nothing(desk: Desk, join: Join) -> None:
    runtime = await join(Agent("a", site="berlin"))
    made: list[Any] = []
    effective: Callable[[Layers], Effective] = runtime.configured.feed._effective

    def counting(layers: Layers) -> Effective:
        made.append(layers)
        return effective(layers)

    runtime.configured.feed._effective = counting
    await desk.put("group.10-x", {"x": 1}, "site=paris")
    await desk.put("group.10-x", {"x": 2}, "site=paris")
    await desk.put("group.20-y", {"y": 1}, "site=berlin")
    await eventually(lambda: runtime.agent.config == {"y": 1})
    assert len(made) == 1
    await desk.put("group.20-y", {"y": 1}, "site=paris")
    await eventually(lambda: runtime.agent.config == {})
    assert len(made) == 2


def test_callbacks_that_cannot_be() -> None:
    agent = Agent("a")
    with pytest.raises(CapabilityError, match=r"a callback takes two values, \(new, old\)"):
        agent.on_config("x")(lambda new: None)
    with pytest.raises(CapabilityError, match=r"write @agent\.on_config\(\) with brackets"):
        agent.on_config(lambda new, old: None)  # type: ignore[arg-type]  # the mistake itself
    with pytest.raises(FleetError, match=r"key 'a\.\.b'"):
        agent.on_config("a..b")


async def test_handlers_are_tested_without_a_bus() -> None:
    agent = Agent("a", config=Settings)
    with pytest.raises(FleetError, match=r"call agent\.configure"):
        _ = agent.config
    agent.configure({"llm": {"model": "m"}})
    assert assert_type(agent.config, Settings).llm.model == "m"
    with pytest.raises(FleetError, match=r"agent a: configuration: llm\.limit: Expected `int`"):
        agent.configure({"llm": {"limit": "many"}})
    assert agent.config.llm.model == "m"
