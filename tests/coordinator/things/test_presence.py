"""Things come and go as agents do."""

from __future__ import annotations

import time
from functools import partial

import pytest
from msgspec.structs import replace

from agent_runtime import Agent
from bus import Bus, Client
from bus.errors import DuplicateAgent
from bus.testing import eventually
from bus.topology import TopologySettings
from bus.wire import headers as h
from coordinator import Coordinator
from coordinator.things import bridge
from coordinator.things.clock import Clock
from coordinator.things.records import Records
from tests.conftest import Join
from tests.coordinator.things.conftest import Make
from tests.coordinator.things.helpers import Beats, events, there
from tests.support.mqtt import echo, slowly

PROBE = h.encode([(h.PROBE, "1")])

WITH_COORDINATOR = pytest.mark.usefixtures("coordinator")


@WITH_COORDINATOR
async def test_an_announce_becomes_a_card(client: Client, bus: Bus, device: Make) -> None:
    beats = await Beats().listen(bus)
    relay = await device(
        "relay-1",
        slots=3,
        capabilities=("blink", "dim"),
        commands=("reset",),
        site="berlin",
        labels={"kind": "lamp"},
        version="lamp-fw 1.2",
        every=30,
    )
    await there(client, "relay-1")
    (card,) = await client.agents("site=berlin,kind=lamp,link=mqtt,cap=dim")
    assert (card.agent, card.incarnation, card.slots) == ("relay-1", relay.boot, 3)
    assert card.runtime == "lamp-fw 1.2"
    assert card.commands == ("cancel", "config", "drain", "ping", "reset", "resume", "status")
    await eventually(lambda: beats.last)
    beat = beats.heard[0]
    assert (beat.agent, beat.incarnation, beat.site) == ("relay-1", relay.boot, "berlin")
    assert (beat.slots, beat.window, beat.state, beat.next_in) == (3, 3, "ready", 30)
    (hello,) = await eventually(lambda: relay.bodies("hello"))
    assert hello["boot"] == relay.boot
    assert abs(hello["now_ms"] - time.time() * 1000) < 2000
    assert hello["busy_every"] == pytest.approx(10 / 3, abs=0.01)
    assert await events(bus, "relay-1") == ["joined"]


@WITH_COORDINATOR
async def test_its_states_are_heartbeats(client: Client, bus: Bus, device: Make) -> None:
    beats = await Beats().listen(bus)
    relay = await device("relay-1", every=0)
    await there(client, "relay-1")
    await eventually(lambda: beats.heard)
    heard = len(beats.heard)
    relay.state(heap=41234, heap_free=1000, rejected="6f2c67eda390bcaa")
    await eventually(lambda: len(beats.heard) > heard)
    beat = beats.last
    assert (beat.heap, beat.heap_free, beat.rejected) == (41234, 1000, "6f2c67eda390bcaa")
    assert beat.seq > beats.heard[0].seq


@WITH_COORDINATOR
async def test_one_that_says_goodbye_has_left_and_hands_back(
    client: Client, bus: Bus, device: Make
) -> None:
    relay = await device("relay-1", slots=1)
    await there(client, "relay-1")
    handle = await client.submit("blink", 7)
    await eventually(lambda: handle.id in relay.held)
    relay.publish("bye", {"boot": relay.boot})
    await there(client)
    assert await events(bus, "relay-1") == ["joined", "left"]
    await device("relay-2", handle=echo)
    assert await handle.result(timeout=5) == 7


@WITH_COORDINATOR
async def test_a_last_will_moves_its_tasks_elsewhere(
    client: Client, bus: Bus, device: Make
) -> None:
    relay = await device("relay-1", slots=1, every=10)
    await there(client, "relay-1")
    handle = await client.submit("blink", 7)
    await eventually(lambda: handle.id in relay.held)
    await device("relay-2", handle=slowly(0.2))
    await there(client, "relay-1", "relay-2")
    beats = await Beats().listen(bus)
    begun = time.monotonic()
    await relay.cut()
    result = await handle.outcome(8)
    print(f"\nrestarted elsewhere {time.monotonic() - begun:.2f} s after the cut")
    assert (result.agent, result.value(), result.attempt) == ("relay-2", 7, 2)
    # It was given out again once, and not by each who knew of it.
    heard = await eventually(lambda: [one for one in beats.heard if one.done])
    assert sum(heard[-1].accepted.values()) == 1
    await there(client, "relay-2")

    async def said() -> bool:
        return await events(bus, "relay-1") == ["joined", "lost"]

    await eventually(said)


@WITH_COORDINATOR
async def test_a_short_loss_of_the_link_costs_nothing(
    client: Client, bus: Bus, device: Make
) -> None:
    beats = await Beats().listen(bus)
    relay = await device("relay-1", slots=1)
    await there(client, "relay-1")
    handle = await client.submit("blink", 7)
    await eventually(lambda: handle.id in relay.held)
    await relay.cut()
    await eventually(lambda: beats.last.state == "draining")
    again = await device("relay-1", boot=relay.boot, announce=False)
    again.held = relay.held
    again.announce()
    again.finish(handle.id, output=8)
    assert await handle.result(timeout=5) == 8
    assert (await handle.outcome()).attempt == 1
    assert await events(bus, "relay-1") == ["joined"]


@WITH_COORDINATOR
async def test_a_power_cycle_gives_back_what_was_held(client: Client, device: Make) -> None:
    relay = await device("relay-1", slots=1)
    await there(client, "relay-1")
    handle = await client.submit("blink", 7)
    await eventually(lambda: handle.id in relay.held)
    await relay.cut()
    await device("relay-1", slots=1, handle=echo)  # another boot
    result = await handle.outcome(8)
    assert (result.value(), result.attempt) == (7, 2)


@WITH_COORDINATOR
async def test_a_clean_disconnect_without_goodbye_is_noticed_by_silence(
    client: Client, bus: Bus, device: Make
) -> None:
    relay = await device("relay-1", every=1)
    await there(client, "relay-1")
    await relay.quiet()
    relay.client.disconnect()  # the broker publishes no will
    begun = time.monotonic()
    await there(client)
    print(f"\nlost {time.monotonic() - begun:.1f} s after the disconnect, states every 1 s")
    assert await events(bus, "relay-1") == ["joined", "lost"]
    again = await device("relay-1", boot=relay.boot)
    await there(client, "relay-1")
    await eventually(lambda: again.bodies("hello"))
    assert (await events(bus, "relay-1"))[-1] == "returned"


@WITH_COORDINATOR
async def test_a_task_waits_for_a_device_that_is_away(client: Client, device: Make) -> None:
    relay = await device("relay-1", every=5, will=False)
    await there(client, "relay-1")
    await relay.cut()
    handle = await client.submit("blink", 7)
    again = await device("relay-1", boot=relay.boot, every=5, handle=echo)
    assert await handle.result(timeout=5) == 7
    assert (await handle.outcome()).attempt == 1
    assert again.bodies("task")


@WITH_COORDINATOR
async def test_what_waited_for_one_that_was_lost_is_taken_back(
    client: Client, device: Make
) -> None:
    relay = await device("relay-1", every=5)
    await there(client, "relay-1")
    other = await device("relay-2", slots=8, every=5, handle=echo)
    await there(client, "relay-1", "relay-2")
    handles = await client.submit_many("blink", [1, 2, 3, 4])
    await relay.cut()
    assert [await one.result(timeout=8) for one in handles] == [1, 2, 3, 4]
    await there(client, "relay-2")
    again = await device("relay-1", boot=relay.boot, every=5, handle=echo)
    await there(client, "relay-1", "relay-2")
    await eventually(lambda: again.bodies("hello"))
    assert not again.bodies("task")
    assert other.bodies("task")


@WITH_COORDINATOR
async def test_a_device_that_nobody_knows_is_asked_who_it_is(client: Client, device: Make) -> None:
    relay = await device("relay-1", announce=False)
    await eventually(lambda: relay.subscribed)
    relay.state()
    await eventually(lambda: relay.bodies("who"))
    relay.announce()
    await there(client, "relay-1")
    relay.publish("state", {"boot": "another"}, 0)
    await eventually(lambda: len(relay.bodies("who")) >= 2)


@WITH_COORDINATOR
async def test_a_thing_cannot_take_the_place_of_an_agent(
    client: Client, bus: Bus, device: Make, join: Join
) -> None:
    agent = Agent("server-1")
    await join(agent)
    rogue = await device("server-1")
    await eventually(lambda: rogue.subscribed)
    honest = await device("relay-1")
    await there(client, "relay-1", "server-1")
    (card,) = await client.agents("agent=server-1")
    assert card.labels == {}
    await eventually(lambda: honest.bodies("hello"))
    assert not rogue.bodies("hello")


@WITH_COORDINATOR
async def test_an_agent_cannot_take_the_place_of_a_thing(
    client: Client, device: Make, join: Join
) -> None:
    await device("relay-1")
    await there(client, "relay-1")
    with pytest.raises(DuplicateAgent):
        await join(Agent("relay-1"))


async def test_an_agent_may_have_the_id_of_a_thing_that_has_left(
    coordinator: Coordinator, client: Client, device: Make, join: Join
) -> None:
    relay = await device("relay-1")
    await there(client, "relay-1")
    relay.publish("bye", {"boot": relay.boot})
    await there(client)
    await relay.quiet()
    agent = Agent("relay-1", slots=8)
    runs: list[int] = []

    @agent.capability("blink")
    async def blink(times: int) -> int:
        runs.append(times)
        return times

    await join(agent)
    handles = await client.submit_many("blink", [{"times": n} for n in range(20)])
    assert [await one.result(timeout=5) for one in handles] == list(range(20))
    assert sorted(runs) == list(range(20))
    # And the thing finds its place taken.
    relay.announce()
    await eventually(lambda: coordinator.things.inbox.dropped)
    (card,) = await client.agents()
    assert card.labels == {}


async def test_the_lease_is_kept_while_it_lives(
    client: Client, bus: Bus, device: Make, coordinator: Coordinator
) -> None:
    relay = await device("relay-1", every=0)
    await there(client, "relay-1")
    entry = coordinator.view.agents["relay-1"]
    first = entry.revision
    # As if its entry had been renewed long ago.
    records = Records(bus)
    await records.change("relay-1", lambda old: (replace(old, leased_ms=1), None))
    relay.state()
    await eventually(lambda: entry.revision > first)


async def test_a_task_is_kept_for_as_long_as_the_device_lists_it(
    nats_url: str, client: Client, bus: Bus, device: Make
) -> None:
    """Longer than the ack wait."""
    short = TopologySettings(ack_wait=0.8)
    beats = await Beats().listen(bus)
    async with Coordinator.connect(nats_url, bus.subjects.fleet, topology_settings=short):
        relay = await device("relay-1", every=0.2)
        await there(client, "relay-1")
        await eventually(lambda: relay.bodies("hello"))
        assert relay.bodies("hello")[-1]["busy_every"] == pytest.approx(0.8 / 3, abs=0.01)
        handle = await client.submit("blink", 7)
        await eventually(lambda: handle.id in relay.held)
        held = time.monotonic()
        await eventually(lambda: time.monotonic() - held > 2)
        relay.finish(handle.id, output=8)
        assert await handle.result(timeout=5) == 8
    assert len(relay.bodies("task")) == 1
    last = [one for one in beats.heard if one.done][-1]
    assert sum(last.accepted.values()) == 1, "the broker has given it out again"


@WITH_COORDINATOR
async def test_two_devices_with_one_id_are_told_of(
    client: Client, device: Make, caplog: pytest.LogCaptureFixture
) -> None:
    relay = await device("relay-1", every=0, boot="a")
    await there(client, "relay-1")
    for boot in ("b", "a", "b", "a"):
        relay.publish("announce", {"boot": boot})
    await eventually(lambda: [one["boot"] for one in relay.bodies("hello")] == [*"ababa"])
    told = [one for one in caplog.messages if "two devices take turns as thing relay-1" in one]
    assert len(told) == 1, "once a minute"
    assert "boots b and a" in told[0]


async def test_a_coordinator_whose_clock_is_wrong_loses_nobody(
    nats_url: str, fleet: str, client: Client, device: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Coordinator.connect(nats_url, fleet):
        relay = await device("relay-1", every=0, handle=echo, announce=False)
        await eventually(lambda: relay.subscribed)
        relay.about["every"] = 60
        relay.announce()
        await there(client, "relay-1")
    ahead = partial(Clock, wall=lambda: time.time_ns() // 1_000_000 + 3_600_000)
    monkeypatch.setattr(bridge, "Clock", ahead)
    async with Coordinator.connect(nats_url, fleet):
        # Before it has heard a word of it.
        assert await (await client.submit("blink", 7)).result(timeout=5) == 7
    assert relay.bodies("task")


async def test_whoever_comes_later_leaves_an_agent_alone_that_has_the_id_of_an_old_thing(
    nats_url: str, fleet: str, client: Client, bus: Bus, device: Make, join: Join
) -> None:
    async with Coordinator.connect(nats_url, fleet):
        relay = await device("relay-1")
        await there(client, "relay-1")
        relay.publish("bye", {"boot": relay.boot})
        await there(client)
        await relay.quiet()
    agent = Agent("relay-1", slots=8)

    @agent.capability("blink")
    async def blink(times: int) -> int:
        return times

    async def refuses() -> bool:
        """Whether the bridge answers what is dispatched to the agent."""
        answer = await bus.request(bus.subjects.dispatch("relay-1"), block=PROBE)
        return not h.find(answer.block, h.INCARNATION)

    async with Coordinator.connect(nats_url, fleet) as coordinator:
        await join(agent)
        await eventually(lambda: "relay-1" in coordinator.view.agents)
        for told in coordinator.bus.reconnected:
            told()  # as after a lost connection
        bus.send(bus.subjects.thing_known("relay-1"))
        await bus.flush()
        await coordinator.bus.flush()
        assert not any([await refuses() for _ in range(20)])
        assert "relay-1" not in coordinator.things.known()
    async with Coordinator.connect(nats_url, fleet) as coordinator:
        await eventually(lambda: "relay-1" not in coordinator.things.known())
