"""Where tasks and calls go."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from agent_runtime import Agent, Task, offer
from bus import Client
from bus.errors import NoAgent, NoCoordinator, TaskRejected, TaskTimeout
from bus.testing import eventually
from coordinator import Coordinator
from tests.conftest import Join
from tests.support.waiting import outcomes


def where(name: str, slots: int = 4, **options: Any) -> Agent:
    """An agent that says where a task has run."""
    agent = Agent(name, slots=slots, **options)

    @agent.capability("where")
    async def where(seconds: float = 0.0) -> str:
        await asyncio.sleep(seconds)
        return name

    return agent


def worker(name: str, seconds: float | None) -> Agent:
    """An agent that takes so long, or fails at once."""
    agent = Agent(name, slots=4)

    @agent.capability("work")
    async def work() -> None:
        if seconds is None:
            raise RuntimeError("no driver")
        await asyncio.sleep(seconds)

    return agent


async def test_a_selector_chooses_the_agent(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(where("a1", labels={"gpu": "a100"}, site="berlin"))
    await join(where("a2", labels={"gpu": "h100"}, site="paris"))
    for select, expected in (
        ("gpu=h100", "a2"),
        ("gpu in (a100,l4)", "a1"),
        ("site=paris", "a2"),
        ("agent=a1", "a1"),
        ("gpu,site!=paris", "a1"),
    ):
        handles = await client.submit_many("where", [None] * 8, select=select)
        assert {result.agent for result in await outcomes(handles, 5)} == {expected}, select
        assert await client.call("where", select=select, timeout=5) == expected


async def test_a_task_that_nobody_matches_waits_for_one_who_does(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(where("a1"))
    waits = await client.submit("where", select="gpu")
    # It holds up nobody.
    assert {r.agent for r in await outcomes(await client.submit_many("where", [None] * 50), 5)}
    assert await waits.status() == "submitted"
    await join(where("a2", labels={"gpu": "yes"}))
    assert await waits.result(5) == "a2"


async def test_a_session_stays_with_one_agent(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    for name in ("a1", "a2", "a3"):
        # Room for all of it at once: how much is free again is heard of only now and then.
        await join(where(name, slots=64))
    await eventually(lambda: len(coordinator.view) == 3)
    homes: dict[str, set[str]] = {}
    for session in ("red", "green", "blue", "white", "black", "grey"):
        for _ in range(6):
            handle = await client.submit("where", session=session)
            homes.setdefault(session, set()).add(await handle.result(5))
        homes[session].add(await client.call("where", session=session, timeout=5))
    assert all(len(agents) == 1 for agents in homes.values())
    assert len({agent for agents in homes.values() for agent in agents}) > 1


async def test_a_full_session_agent_is_passed_by(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(where("a1", slots=1))
    await join(where("a2", slots=1))
    await eventually(lambda: len(coordinator.view) == 2)
    first = await client.submit("where", {"seconds": 1.0}, session="s")
    await eventually(lambda: coordinator.dispatcher.forwarded == 1)
    second = await client.submit("where", {"seconds": 0.0}, session="s")
    passed_by = await second.result(0.9)
    assert passed_by != await first.result(5)


async def test_the_first_priority_goes_first_and_the_last_is_not_starved(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    order: list[int] = []
    agent = Agent("one")

    @agent.capability("work")
    async def work(priority: int) -> None:
        order.append(priority)
        await asyncio.sleep(0.005)

    # All of them are there before the first is taken.
    handles = []
    for priority, count in ((2, 40), (1, 60), (0, 100)):
        handles += await client.submit_many(
            "work", [{"priority": priority}] * count, priority=priority
        )
    await join(agent)
    await outcomes(handles, 20)
    half = Counter(order[:100])
    assert half[0] > 60, half
    assert half[1] + half[2] >= 4, half
    assert half[2] >= 1, half
    assert Counter(order) == {0: 100, 1: 60, 2: 40}


async def test_an_urgent_task_overtakes_a_long_queue(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(where("a1", slots=2))
    queue = await client.submit_many("where", [{"seconds": 0.02}] * 200)
    urgent = await client.submit("where", priority=0)
    await urgent.result(5)
    assert sum(handle.finished.done() for handle in queue) < 100
    await outcomes(queue, 10)


# nobody is there


async def test_require_agent_refuses_at_once(client: Client, join: Join) -> None:
    with pytest.raises(NoAgent, match="no agent offers 'where' now"):
        await client.submit("where", require_agent=True)
    await join(where("a1"))
    handle = await client.submit("where", require_agent=True)
    assert await client.get(handle.id) == "submitted"
    with pytest.raises(NoAgent, match="gpu"):
        await client.submit("where", require_agent=True, select="gpu")


async def test_a_call_without_a_coordinator(client: Client, join: Join) -> None:
    await join(where("a1"))
    with pytest.raises(NoCoordinator, match="start one"):
        await client.call("where", timeout=5)


async def test_a_call_that_nobody_can_take(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    with pytest.raises(NoAgent, match="where"):
        await client.call("where", timeout=5)
    await join(where("a1"))
    with pytest.raises(NoAgent, match="gpu"):
        await client.call("where", timeout=5, select="gpu")


async def test_a_call_waits_for_room(client: Client, coordinator: Coordinator, join: Join) -> None:
    await join(where("a1", slots=1))
    first = asyncio.create_task(client.call("where", {"seconds": 0.4}, timeout=5))
    await asyncio.sleep(0)
    begun = time.monotonic()
    assert await client.call("where", timeout=5) == "a1"
    assert await first == "a1"
    assert time.monotonic() - begun > 0.3


async def test_a_call_gives_up_when_no_room_comes(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(where("a1", slots=1))
    busy = await client.submit("where", {"seconds": 1.2})
    await eventually(lambda: coordinator.dispatcher.forwarded == 1)
    with pytest.raises(TaskTimeout):
        await client.call("where", timeout=0.3)
    # Nobody runs it afterwards.
    assert (await busy.outcome(5)).state == "completed"
    await eventually(lambda: coordinator.dispatcher.all_held() == 0)
    assert coordinator.dispatcher.forwarded == 1


async def test_a_call_takes_no_options_of_a_stored_task(client: Client) -> None:
    with pytest.raises(TaskRejected, match="use submit"):
        await client.call("where", key="k")


# what is offered changes


async def test_capabilities_come_and_go_at_run_time(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    runtime = await join(where("a1"))
    waits = await client.submit("double", {"x": 4})

    async def double(x: int) -> int:
        return 2 * x

    await runtime.add(offer(double))
    assert await waits.result(5) == 8
    [card] = await client.agents()
    assert [one.name for one in card.capabilities] == ["where", "double"]
    await runtime.remove("double")

    async def nobody() -> bool:
        try:
            await client.call("double", {"x": 1}, timeout=5)
        except NoAgent:
            return True
        return False

    await eventually(nobody)
    [card] = await client.agents()
    assert [one.name for one in card.capabilities] == ["where"]
    later = await client.submit("double", {"x": 5})
    await runtime.add(offer(double))
    assert await later.result(5) == 10


async def test_two_coordinators_share_the_work(
    nats_url: str, fleet: str, client: Client, join: Join
) -> None:
    async with (
        Coordinator.connect(nats_url, fleet, name="c1") as one,
        Coordinator.connect(nats_url, fleet, name="c2") as two,
    ):
        await join(where("a1", slots=8))
        await join(where("a2", slots=8))
        await eventually(lambda: one.peers.count == two.peers.count == 2)
        handles = await client.submit_many("where", [{"seconds": 0.005}] * 400)
        results = await outcomes(handles, 10)
        assert Counter(r.attempt for r in results) == {1: 400}
        assert one.dispatcher.forwarded > 40
        assert two.dispatcher.forwarded > 40
        # Neither thinks that there is something left to do.
        await eventually(
            lambda: [entry.outstanding for c in (one, two) for entry in c.view] == [0] * 4
        )


async def test_work_goes_to_the_idle_agent(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    """Long tasks are spread over the slots there are and never queue behind each other."""
    for name in ("a1", "a2", "a3"):
        await join(where(name, slots=2))
    await eventually(lambda: len(coordinator.view) == 3)
    begun = time.monotonic()
    handles = await client.submit_many("where", [{"seconds": 0.5}] * 6)
    results = await outcomes(handles, 5)
    assert Counter(r.agent for r in results) == {"a1": 2, "a2": 2, "a3": 2}
    assert time.monotonic() - begun < 1.0


async def test_a_fast_agent_goes_before_a_slow_one(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(worker("fast", 0.01))
    await join(worker("slow", 0.08))
    await eventually(lambda: len(coordinator.view) == 2)
    await outcomes(await client.submit_many("work", [None] * 40), 10)
    both = [entry.service_ms.get("work") for entry in coordinator.view]
    assert None not in both  # each was tried
    for _ in range(10):
        # Two at a time are less than the fast one has slots.
        results = await outcomes(await client.submit_many("work", [None] * 2), 5)
        assert {result.agent for result in results} == {"fast"}


async def test_an_agent_that_fails_at_once_draws_no_tasks(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    """It is free again before the others are, and would seem to be the fastest of all."""
    await join(worker("sound", 0.02))
    await join(worker("broken", None))
    await eventually(lambda: len(coordinator.view) == 2)
    results = [await (await client.submit("work")).outcome(5) for _ in range(40)]
    tried = Counter(result.agent for result in results)
    assert 1 <= tried["broken"] <= 4
    assert tried["sound"] == 40 - tried["broken"]


async def test_a_task_knows_its_place(client: Client, coordinator: Coordinator, join: Join) -> None:
    agent = Agent("a1")

    @agent.capability("self")
    async def me(task: Task) -> list[object]:
        return [task.id, task.agent, task.capability, task.attempt, task.max_attempts, task.caller]

    await join(agent)
    handle = await client.submit("self", max_attempts=7)
    assert await handle.result(5) == [handle.id, "a1", "self", 1, 7, client.id]
