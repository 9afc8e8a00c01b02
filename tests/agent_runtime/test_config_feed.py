"""How an agent hears of its configuration: batches, what is late, garbage, broken links."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agent_runtime import Agent, config_feed
from bus import Bus, codec, store, topology
from bus.client import config
from bus.config.changes import Change
from bus.config.followed import Followed, Taken
from bus.config.past import State, state
from bus.testing import eventually
from bus.wire import headers as h
from bus.wire.config import ConfigHead, ConfigLayer
from bus.wire.heartbeat import FleetPolicy
from tests.conftest import Join
from tests.support.configuring import Desk
from tests.support.proxy import Proxy

G, F = "layer.global", "layer.fleet"


@pytest.fixture
async def desk(bus: Bus) -> Desk:
    return await Desk(bus).start()


def layer(key: str, revision: int, x: int | None, batched: bool = False) -> Change:
    value = None if x is None else ConfigLayer({"x": x})
    return Change(key, revision, "", batched, value)


def head(revision: int, commit: str = "c") -> Change:
    return Change("head", revision, "", True, ConfigHead(commit))


def garbage(key: str, revision: int) -> Change:
    return Change(key, revision, "", False, None, "not JSON")


def xs(followed: Followed) -> dict[str, Any]:
    return {name: one.layer.values["x"] for name, one in followed.stored.items()}


@pytest.mark.parametrize(
    ("changes", "expected", "commit"),
    [
        ([layer(G, 1, 1)], {"global": 1}, ""),
        ([layer(G, 1, 1), layer(G, 2, None)], {}, ""),
        # Later ones first, and the same one twice.
        ([layer(G, 2, 2), layer(G, 1, 1)], {"global": 2}, ""),
        ([layer(G, 2, 2), layer(G, 2, 3)], {"global": 2}, ""),
        ([layer(G, 2, None), layer(G, 1, 1)], {}, ""),
        # A batch counts with its head, which may be heard first.
        ([layer(G, 1, 1, True)], {}, ""),
        ([layer(G, 1, 1, True), layer(F, 2, 2, True), head(3)], {"global": 1, "fleet": 2}, "c"),
        ([head(3), layer(G, 1, 1, True), layer(F, 2, 2, True)], {"global": 1, "fleet": 2}, "c"),
        ([layer(G, 1, 1), layer(G, 2, None, True)], {"global": 1}, ""),
        ([layer(G, 1, 1), layer(G, 2, None, True), head(3)], {}, "c"),
        # An interrupted one, and the next.
        ([layer(G, 1, 1, True), layer(G, 2, 2, True), head(3)], {"global": 2}, "c"),
        ([head(1), layer(G, 2, 2, True), layer(G, 3, 3)], {"global": 3}, "c"),
        ([head(1), layer(G, 2, 2, True), layer(G, 3, 3), head(4)], {"global": 3}, "c"),
        # Garbage does not count.
        ([layer(G, 1, 1), garbage(G, 2)], {"global": 1}, ""),
        ([layer(G, 1, 1), garbage(G, 2), layer(G, 3, 3)], {"global": 3}, ""),
        ([layer(G, 1, 1, True), head(2), garbage("head", 3)], {"global": 1}, "c"),
    ],
)
def test_rules_of_what_counts(changes: list[Change], expected: dict[str, Any], commit: str) -> None:
    followed = Followed()
    for change in changes:
        followed.take(change)
    assert xs(followed) == expected
    assert followed.layers.commit == commit
    # Whoever reads it all at once, in its order, comes to the same.
    by_revision = sorted({one.revision: one for one in reversed(changes)}.items())
    whole = state(one for _, one in by_revision)
    assert {name: one.layer.values["x"] for name, one in whole.layers.stored.items()} == expected
    assert whole.layers.commit == commit


def test_what_a_write_has_changed() -> None:
    followed = Followed()
    assert followed.take(layer(G, 1, 1, True)) == Taken()
    assert followed.take(head(2)) == Taken(("global",), head=True)
    assert followed.take(head(2)) == Taken()
    assert followed.take(layer(F, 4, 1)) == Taken(("fleet",))
    assert followed.take(layer(F, 3, 1)) == Taken()
    assert followed.take(Change("head", 5, "", False, None)) == Taken()
    assert followed.layers.commit == "c"


def test_batch_that_was_fetched_without_its_head_waits_for_it() -> None:
    followed = state([layer(G, 1, 1), layer(G, 2, 2, True)]).followed
    assert (xs(followed), set(followed.ignored)) == ({"global": 1}, {G})
    assert followed.take(head(3)) == Taken(("global",), head=True)
    assert (xs(followed), set(followed.ignored)) == ({"global": 2}, set())


async def test_sync_is_applied_as_a_whole(desk: Desk, join: Join) -> None:
    agent = Agent("a")
    seen: list[Any] = []

    @agent.on_config()
    async def see(new: Any, old: Any) -> None:
        seen.append(new)

    await join(agent)
    await desk.commit("c1", **{"global": {"x": 1}, "fleet": {"y": 1}, "instance_a": {"z": 1}})
    await eventually(lambda: len(seen) == 2)
    await desk.commit("c2", **{"global": {"x": 2}, "fleet": None, "instance_a": {"z": 2}})
    await eventually(lambda: agent.config == {"x": 2, "z": 2})
    assert seen == [{}, {"x": 1, "y": 1, "z": 1}, {"x": 2, "z": 2}]


async def test_batch_without_a_head_is_waited_for_then_looked_up(
    desk: Desk, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_feed, "HEADLESS", 0.1)
    agent = Agent("a")
    runtime = await join(agent)
    feed = runtime.configured.feed
    assert feed.fetches == 1
    # As the broker would republish it, but never stored: it belongs to no state of the bucket.
    stored = f"{desk.bus.subjects.config_keys}{G}"
    block = h.encode(
        [("Nats-Subject", stored), ("Nats-Sequence", "900"), ("Nats-Batch-Id", "lost")]
    )
    data = codec.encode(ConfigLayer({"x": 1}))
    desk.bus.send(desk.bus.subjects.config(G), data, "", block)
    await eventually(lambda: feed.followed.staged)
    # The first answer is older than what was heard; the second says so again, and is believed.
    monkeypatch.setattr(config_feed, "AGAIN", 0.1)
    await eventually(lambda: feed.fetches == 3 and not feed.followed.staged)
    assert agent.config == {}
    await desk.put("global", {"x": 2})
    await eventually(lambda: agent.config == {"x": 2})


async def test_garbage_is_ignored_and_what_was_in_force_stays(
    desk: Desk, join: Join, nats_url: str, fleet: str
) -> None:
    agent, late = Agent("a"), Agent("late")
    runtime = await join(agent)
    revision = await desk.put("global", {"x": 1})
    await eventually(lambda: agent.config == {"x": 1})
    deep = b'{"values": ' + b'{"x": ' * 400 + b"1" + b"}" * 400 + b"}"
    for data in (b"{", b"\xff", b"[]", b'{"values": 1}', deep):
        await desk.garbage(G, data)
    await desk.garbage("layer.group.nonsense", codec.encode(ConfigLayer({"x": 2})))
    await desk.garbage("head", b"garbage")
    await eventually(lambda: runtime.bus.dropped == 7)
    assert agent.config == {"x": 1}
    # One that comes later finds what was good before.
    await join(late)
    assert late.config == {"x": 1}
    now = await config.current(desk.bus)
    assert now.layers.stored["global"].revision == revision


async def test_deleted_head_undoes_nothing(desk: Desk, join: Join) -> None:
    agent, late = Agent("a"), Agent("late")
    await join(agent)
    await desk.commit("c" * 40, **{"global": {"x": 1}})
    await desk.says("a", commit="c" * 12)
    stored = f"{desk.bus.subjects.config_keys}head"
    await store.publish(desk.bus, stored, b"", h.encode([("KV-Operation", "DEL")]))
    await join(late)
    assert (agent.config, late.config) == ({"x": 1}, {"x": 1})
    await desk.says("late", commit="c" * 12)


async def test_messages_that_do_not_come_from_the_bucket_are_dropped(
    desk: Desk, join: Join
) -> None:
    agent = Agent("a")
    runtime = await join(agent)
    data = codec.encode(ConfigLayer({"x": 1}))
    desk.bus.send(desk.bus.subjects.config(G), data)
    await eventually(lambda: runtime.bus.dropped == 1)
    assert agent.config == {}


async def test_change_during_an_outage_is_caught_up_with(
    desk: Desk, nats_url: str, fleet: str
) -> None:
    policy = FleetPolicy(interval=2.0)
    await desk.garbage("policy", codec.encode(policy))
    agent = Agent("a")
    async with Proxy(nats_url) as proxy, agent.connect(proxy.url, fleet, reconnect_max=0.1) as run:
        assert run.presence.policy.interval == 2.0
        proxy.hold()
        proxy.cut()
        await desk.put("global", {"x": 1})
        await desk.commit("c" * 40, fleet={"y": 1})
        proxy.release()
        begun = time.monotonic()
        await eventually(lambda: agent.config == {"x": 1, "y": 1})
        # Less than an interval after it is back; to come back takes it part of a second.
        assert time.monotonic() - begun < policy.interval
        beat = await desk.says("a", commit="c" * 12)
        assert beat.config == run.configured.report().hash


async def test_old_answer_at_the_start_is_asked_for_again(
    desk: Desk, nats_url: str, fleet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.put("fleet", {"y": 1})
    await desk.put("global", {"x": 1})
    truth, asked = config.of_agent, list[int]()
    flush = Bus.flush

    async def flush_while_somebody_writes(bus: Bus, timeout: float | None = None) -> None:
        await flush(bus, timeout)
        if bus is not desk.bus and not asked:
            await desk.put("global", {"x": 2})
            await flush(bus, timeout)

    async def answer(bus: Bus, name: str) -> State:
        asked.append(1)
        # A server that has not heard of anything yet.
        return state([]) if len(asked) == 1 else await truth(bus, name)

    monkeypatch.setattr(Bus, "flush", flush_while_somebody_writes)
    monkeypatch.setattr(config, "of_agent", answer)
    monkeypatch.setattr(config_feed, "AGAIN", 0.05)
    agent = Agent("a")
    async with agent.connect(nats_url, fleet):
        assert agent.config == {"x": 2, "y": 1}


async def test_answers_that_are_older_than_what_was_heard_are_not_believed(
    desk: Desk, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent("a")
    runtime = await join(agent)
    await desk.put("global", {"x": 1})
    old = await config.of_agent(desk.bus, "a")
    await desk.put("global", {"x": 2})
    await eventually(lambda: agent.config == {"x": 2})
    # A replica that lags, asked again and again; the leader has what was heard.
    truth, answers, seen = config.of_agent, [old, old, old], list[Any]()

    async def answer(bus: Bus, name: str) -> State:
        seen.append(agent.config)
        return answers.pop() if answers else await truth(bus, name)

    monkeypatch.setattr(config, "of_agent", answer)
    monkeypatch.setattr(config_feed, "AGAIN", 0.02)
    feed = runtime.configured.feed
    feed._plan(0.0)
    await eventually(lambda: feed.fetches == 5 and feed._doubts == 0)
    assert [*seen, agent.config] == [{"x": 2}] * 5


async def lose(bus: Bus) -> None:
    """The server loses the bucket, and a coordinator that starts makes another."""
    await bus.api(f"STREAM.DELETE.{bus.subjects.config_stream}")
    await topology.ensure(bus)


async def test_bucket_that_is_lost_while_the_agent_is_away_takes_nothing_from_it(
    desk: Desk, nats_url: str, fleet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_feed, "AGAIN", 0.05)
    monkeypatch.setattr(config_feed, "RETURN", (0.0, 0.0))
    await desk.commit("c" * 40, **{"global": {"x": 1}, "fleet": {"gone": 1}})
    agent = Agent("a")
    async with Proxy(nats_url) as proxy, agent.connect(proxy.url, fleet, reconnect_max=0.1) as run:
        assert agent.config == {"x": 1, "gone": 1}
        proxy.hold()
        proxy.cut()
        await lose(desk.bus)
        proxy.release()
        feed = run.configured.feed
        await eventually(lambda: feed.followed.revisions == {})
        assert feed.fetches == 3
        feed.reconsider()
        feed._plan(0.0)
        await eventually(lambda: feed.fetches == 4 and feed._heard is None)
        assert agent.config == {"x": 1, "gone": 1}
        await desk.says("a", commit="c" * 12, rejected="")
        # What is written again counts, and nothing else.
        await desk.commit("d" * 40, **{"global": {"x": 2}})
        await eventually(lambda: agent.config == {"x": 2})
        await desk.says("a", commit="d" * 12)


@pytest.mark.parametrize("more", [0, 1, 5])
async def test_bucket_that_is_lost_under_a_connected_agent_and_written_again(
    desk: Desk, join: Join, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr(config_feed, "AGAIN", 0.05)
    agent = Agent("a")
    await join(agent)
    for x in range(more):
        await desk.put("group.10-x", {"gone": x})
    await desk.commit("c" * 40, **{"global": {"x": 1}, "fleet": {"y": 1}})
    await desk.says("a", commit="c" * 12)
    await lose(desk.bus)
    # With the same revisions as before, or with lower ones.
    await desk.commit("d" * 40, **{"global": {"x": 2}, "fleet": {"y": 2}})
    await eventually(lambda: agent.config == {"x": 2, "y": 2})
    await desk.says("a", commit="d" * 12)
    await desk.put("fleet", {"y": 3})
    await eventually(lambda: agent.config == {"x": 2, "y": 3})


async def test_new_bucket_that_has_come_further_than_the_old_one(
    desk: Desk, nats_url: str, fleet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_feed, "AGAIN", 0.05)
    monkeypatch.setattr(config_feed, "RETURN", (0.0, 0.0))
    await desk.put("fleet", {"y": 1})
    await desk.put("global", {"gone": 1})
    agent = Agent("a")
    async with Proxy(nats_url) as proxy, agent.connect(proxy.url, fleet, reconnect_max=0.1):
        assert agent.config == {"y": 1, "gone": 1}
        proxy.hold()
        proxy.cut()
        await lose(desk.bus)
        for y in range(5):
            await desk.put("fleet", {"y": y})
        proxy.release()
        await eventually(lambda: agent.config == {"y": 4})


async def test_mark_that_was_cleared_away_is_no_reason_to_doubt(desk: Desk, join: Join) -> None:
    agent = Agent("a")
    runtime = await join(agent)
    feed = runtime.configured.feed
    await desk.put("group.10-x", {"x": 1})
    await desk.put("group.10-x", None)
    await eventually(lambda: len(feed.followed.revisions) == 1 and not feed.followed.stored)
    question = {"filter": f"{desk.bus.subjects.config_keys}layer.group.10-x"}
    await desk.bus.api(f"STREAM.PURGE.{desk.bus.subjects.config_stream}", question)
    feed._plan(0.0)
    await eventually(lambda: feed.followed.revisions == {})
    assert (feed.fetches, feed._doubts) == (2, 0)


async def test_value_that_comes_back_during_a_fetch_is_told(
    desk: Desk, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent("a")
    runtime = await join(agent)
    await desk.put("global", {"x": "A"})
    await eventually(lambda: agent.config == {"x": "A"})
    between: list[Any] = []

    async def answer(bus: Bus, name: str) -> State:
        last = await desk.put("global", {"x": "B"})
        await eventually(lambda: agent.config == {"x": "B"})
        between.append(agent.config)
        # The next write is in the answer already, and has not been heard.
        return state([Change(G, last + 1, "", False, ConfigLayer({"x": "A"}))])

    monkeypatch.setattr(config, "of_agent", answer)
    runtime.configured.feed._plan(0.0)
    await eventually(lambda: between == [{"x": "B"}] and agent.config == {"x": "A"})


@pytest.mark.parametrize(
    ("change", "odd"),
    [
        (layer(G, 6, 1), False),
        (layer(F, 5, 2), False),  # heard once more
        (layer(G, 3, 1), False),
        (layer(G, 4, 1), True),
        (layer(G, 2, 1), True),
        (layer("layer.group.10-x", 5, 1), True),
        (Change(F, 5, "2026-11-21T00:00:00Z", False, None), True),
    ],
)
def test_what_only_another_bucket_can_say(change: Change, odd: bool) -> None:
    followed = state([layer(G, 3, 1), layer(F, 5, 2)]).followed
    assert followed.contradicts(change) is odd
