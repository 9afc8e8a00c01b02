"""Agents that are told to pause, to leave, or not to come."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest

from agent_runtime import Agent, Task
from agent_runtime.runtime import Runtime
from bus import Client
from bus.errors import DuplicateAgent
from bus.testing import eventually
from coordinator import Coordinator
from tests.conftest import Join
from tests.support.waiting import outcomes

Run = tuple[str, str, int]


def worker(name: str, ran: list[Run], slots: int = 1, grace: float = 5.0) -> Agent:
    """Notes agent, key and attempt of each run."""
    agent = Agent(name, slots=slots, grace=grace)

    @agent.capability("work")
    async def work(task: Task, key: str, seconds: float = 0.0) -> str:
        ran.append((name, key, task.attempt))
        await asyncio.sleep(seconds)
        return name

    return agent


async def command(client: Client, verb: str, agent: str) -> object:
    broadcast = client.broadcast(verb, select=f"agent={agent}", timeout=5)
    [reply] = [reply async for reply in broadcast]
    assert reply.state == "ok", reply
    return reply.output


async def test_drain_and_resume(client: Client, coordinator: Coordinator, join: Join) -> None:
    ran: list[Run] = []
    await join(worker("a1", ran))
    await join(worker("a2", ran))
    assert await command(client, "drain", "a1") == "draining"
    await outcomes(await client.submit_many("work", [{"key": f"{i}"} for i in range(20)]), 5)
    assert {agent for agent, _, _ in ran} == {"a2"}
    assert await command(client, "resume", "a1") == "ready"
    handle = await client.submit("work", {"key": "x"}, select="agent=a1")
    assert await handle.result(5) == "a1"


async def test_a_drained_fleet_keeps_tasks_waiting(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    ran: list[Run] = []
    await join(worker("a1", ran))
    await command(client, "drain", "a1")
    handle = await client.submit("work", {"key": "x"})
    called = asyncio.create_task(client.call("work", {"key": "y"}, timeout=10))
    await asyncio.sleep(0.2)  # long enough to be placed, if it could be
    assert not ran
    await command(client, "resume", "a1")
    assert await handle.result(5) == "a1"
    assert await called == "a1"


async def test_the_stop_command_asks_the_process_to_end(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    runtime = await join(worker("a1", []))
    assert await command(client, "stop", "a1") == "stopping"
    await eventually(runtime.stopping.is_set)


async def test_a_leaving_agent_hands_back_what_it_has_not_begun(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, join: Join
) -> None:
    """Those count as never tried: even with one attempt they are done by another."""
    ran: list[Run] = []
    async with worker("leaver", ran).connect(nats_url, fleet) as leaver:
        quick = await client.submit_many("work", [{"key": "quick"}] * 40)
        await outcomes(quick, 5)
        handles = await client.submit_many(
            "work", [{"key": f"{i}", "seconds": 0.3} for i in range(10)], max_attempts=1
        )
        await eventually(lambda: len(leaver.intake.held) == 10)
        await join(worker("heir", ran, slots=10))
    results = await outcomes(handles, 5)
    assert Counter(r.agent for r in results) == {"leaver": 1, "heir": 9}
    assert {r.attempt for r in results} == {1}
    assert Counter(key for _, key, _ in ran if key != "quick") == {str(i): 1 for i in range(10)}
    assert [card.agent for card in await client.agents()] == ["heir"]


async def test_a_leaving_agent_interrupts_what_exceeds_its_grace(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, join: Join
) -> None:
    ran: list[Run] = []
    async with worker("leaver", ran, grace=0.2).connect(nats_url, fleet):
        handle = await client.submit("work", {"key": "long", "seconds": 1.0})
        await eventually(lambda: len(ran) == 1)
        await join(worker("heir", ran))
    result = await handle.outcome(5)
    assert (result.agent, result.attempt) == ("heir", 2)


async def test_leaving_with_two_coordinators_runs_nothing_twice(
    nats_url: str, fleet: str, client: Client, join: Join
) -> None:
    """What one coordinator gave the leaver, the other may have given away since."""
    ran: list[Run] = []
    async with (
        Coordinator.connect(nats_url, fleet, name="c1") as one,
        Coordinator.connect(nats_url, fleet, name="c2") as two,
    ):
        await eventually(lambda: one.peers.count == two.peers.count == 2)
        async with worker("leaver", ran, grace=2.0).connect(nats_url, fleet) as leaver:
            await outcomes(await client.submit_many("work", [{"key": "quick"}] * 60), 5)
            handles = await client.submit_many(
                "work", [{"key": f"{i}", "seconds": 0.8} for i in range(20)]
            )
            # Not what it holds: on a busy machine the first may be done before the last is there.
            await eventually(lambda: sum(leaver.load.accepted.values()) == 80)
            # Two, so that what is given out again goes to another one than has it.
            await join(worker("heir1", ran, slots=10))
            await join(worker("heir2", ran, slots=20))
            await eventually(lambda: len(one.view) == len(two.view) == 3)
            # Its grace goes to the one that runs; the heirs have the others by then.
        results = await outcomes(handles, 10)
    assert {r.attempt for r in results} == {1}
    assert Counter(key for _, key, _ in ran if key != "quick") == {str(i): 1 for i in range(20)}


async def test_a_handed_back_task_that_kills_is_still_counted(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, join: Join
) -> None:
    """It begins at attempt 1 a second time: that run must leave its mark as well."""
    ran: list[Run] = []
    async with worker("leaver", ran).connect(nats_url, fleet) as leaver:
        await outcomes(await client.submit_many("work", [{"key": "quick"}] * 40), 5)
        await client.submit("work", {"key": "long", "seconds": 0.3})
        handle = await client.submit("work", {"key": "doomed", "seconds": 30.0}, max_attempts=2)
        await eventually(lambda: handle.id in leaver.intake.held)

    def began(agent: str) -> bool:
        return (agent, "doomed") in [run[:2] for run in ran]

    for name in ("a1", "a2"):
        runtime = worker(name, ran).connect(nats_url, fleet)
        await runtime.__aenter__()
        await eventually(partial(began, name))
        # As SIGKILL would end it: no goodbye.
        await runtime.presence.stop()
        await runtime.bus.nc.close()
        await runtime.executor.stop([])
        for held in list(runtime.intake.held.values()):
            if held.runner is not None:
                held.runner.cancel()
                await asyncio.gather(held.runner, return_exceptions=True)
    result = await handle.outcome(10)
    assert (result.state, result.attempt) == ("failed", 2)
    assert [run for run in ran if run[1] == "doomed"] == [("a1", "doomed", 1), ("a2", "doomed", 2)]


async def test_an_agent_id_in_use_is_refused(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, join: Join
) -> None:
    ran: list[Run] = []
    first = await join(worker("a1", ran))
    for _ in range(5):
        with pytest.raises(DuplicateAgent, match="stop that process or choose another id"):
            await worker("a1", ran).connect(nats_url, fleet).__aenter__()
    # The first is none the worse for it.
    assert not first.stopping.is_set()
    assert await (await client.submit("work", {"key": "x"})).result(5) == "a1"
    assert [card.incarnation for card in await client.agents()] == [first.incarnation]


async def test_of_several_that_start_at_once_under_one_id_one_remains(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator
) -> None:
    ran: list[Run] = []
    runtimes = [worker("a1", ran).connect(nats_url, fleet) for _ in range(4)]
    entered = await asyncio.gather(
        *(runtime.__aenter__() for runtime in runtimes), return_exceptions=True
    )
    assert all(isinstance(one, DuplicateAgent | Runtime) for one in entered), entered
    inside = [one for one in entered if isinstance(one, Runtime)]

    def alone() -> bool:
        return [one.stopping.is_set() for one in inside].count(False) == 1

    await eventually(alone)
    [survivor] = [one for one in inside if not one.stopping.is_set()]
    for one in inside:
        if one is not survivor:
            await one.__aexit__(None, None, None)
    assert [card.incarnation for card in await client.agents()] == [survivor.incarnation]
    assert await (await client.submit("work", {"key": "x"})).result(5) == "a1"
    assert not survivor.stopping.is_set()
    await survivor.__aexit__(None, None, None)


async def test_an_agent_comes_back_under_its_id(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator
) -> None:
    ran: list[Run] = []
    for _ in range(3):
        async with worker("a1", ran).connect(nats_url, fleet):
            assert await (await client.submit("work", {"key": "x"})).result(5) == "a1"
        assert await client.agents() == []
