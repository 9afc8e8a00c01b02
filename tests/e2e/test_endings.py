"""The ways in which a task ends other than by its handler's return."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agent_runtime import Agent, Task
from bus import Client
from bus.errors import TaskCanceled, TaskExpired, TaskFailed
from bus.testing import eventually
from coordinator import Coordinator
from tests.conftest import Join


class Sleeper:
    """An agent with one slot, whose runs are seen from outside."""

    def __init__(self, name: str = "sleeper", slots: int = 1) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.interrupted: list[str] = []
        self.agent = Agent(name, slots=slots)

        @self.agent.capability("sleep")
        async def sleep(key: str, seconds: float) -> str:
            self.begun.append(key)
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.interrupted.append(key)
                raise
            self.ended.append(key)
            return key

        @self.agent.capability("hurried", timeout=0.1)
        async def hurried(key: str, seconds: float) -> str:
            return await sleep(key, seconds)


# deadlines


async def test_the_client_itself_writes_expired_when_nobody_is_there(client: Client) -> None:
    handle = await client.submit("sleep", {"key": "a", "seconds": 0}, deadline=0.2)
    with pytest.raises(TaskExpired):
        await handle.result(timeout=5)
    stored = await client.get(handle.id)
    assert not isinstance(stored, str)
    assert stored.state == "expired"


async def test_a_task_that_expired_unseen_is_not_run_later(
    nats_url: str, fleet: str, client: Client, join: Join
) -> None:
    sleeper = Sleeper()
    handle = await client.submit("sleep", {"key": "late", "seconds": 0}, deadline=0.2)
    assert (await handle.outcome(5)).state == "expired"
    async with Coordinator.connect(nats_url, fleet):
        await join(sleeper.agent)
        after = await client.submit("sleep", {"key": "next", "seconds": 0})
        assert await after.result(5) == "next"
    assert sleeper.begun == ["next"]


async def test_a_deadline_passes_while_the_task_waits_for_room(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    sleeper = Sleeper()
    await join(sleeper.agent)
    first = await client.submit("sleep", {"key": "long", "seconds": 1.2})
    await eventually(lambda: sleeper.begun == ["long"])
    late = await client.submit("sleep", {"key": "late", "seconds": 0}, deadline=0.3)
    begun = time.monotonic()
    assert (await late.outcome(5)).state == "expired"
    assert time.monotonic() - begun < 1.1
    assert await first.result(5) == "long"
    assert sleeper.begun == ["long"]


async def test_a_deadline_passes_while_the_task_is_queued_at_the_agent(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    sleeper = Sleeper()
    await join(sleeper.agent)
    # Quick ones first: the agent then takes more than it can run at once.
    for quick in await client.submit_many("sleep", [{"key": "q", "seconds": 0}] * 20):
        await quick.result(5)
    first = await client.submit("sleep", {"key": "long", "seconds": 1.0})
    await eventually(lambda: "long" in sleeper.begun)
    late = await client.submit("sleep", {"key": "late", "seconds": 0}, deadline=0.3)
    assert (await late.outcome(5)).state == "expired"
    assert await first.result(5) == "long"
    assert "late" not in sleeper.begun


async def test_a_deadline_passes_while_the_task_runs(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    sleeper = Sleeper()
    await join(sleeper.agent)
    handle = await client.submit("sleep", {"key": "long", "seconds": 30}, deadline=0.4)
    result = await handle.outcome(5)
    assert (result.state, result.agent) == ("expired", "sleeper")
    assert sleeper.interrupted == ["long"]


async def test_a_run_that_is_longer_than_its_capability_allows(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    sleeper = Sleeper()
    await join(sleeper.agent)
    handle = await client.submit("hurried", {"key": "slow", "seconds": 30}, max_attempts=2)
    with pytest.raises(TaskFailed, match="longer than its timeout") as raised:
        await handle.result(timeout=10)
    assert raised.value.kind == "Timeout"
    assert raised.value.attempt == 2
    assert sleeper.interrupted == ["slow", "slow"]
    assert [dead.task async for dead in client.dead.list()] == [handle.id]


# cancellation


async def test_cancel_before_anybody_is_there(
    nats_url: str, fleet: str, client: Client, join: Join
) -> None:
    sleeper = Sleeper()
    handle = await client.submit("sleep", {"key": "never", "seconds": 0})
    assert await handle.cancel("changed my mind")
    with pytest.raises(TaskCanceled, match="changed my mind"):
        await handle.result(timeout=5)
    async with Coordinator.connect(nats_url, fleet):
        await join(sleeper.agent)
        after = await client.submit("sleep", {"key": "next", "seconds": 0})
        assert await after.result(5) == "next"
    assert sleeper.begun == ["next"]


async def test_cancel_while_a_coordinator_holds_it(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    """It has been given out by the broker and waits for the one agent that it wants."""
    sleeper, other = Sleeper(), Sleeper("other")
    await join(sleeper.agent)
    await join(other.agent)
    await eventually(lambda: len(coordinator.view) == 2)
    first = await client.submit("sleep", {"key": "long", "seconds": 0.8}, select="agent=sleeper")
    await eventually(lambda: sleeper.begun == ["long"])
    held = await client.submit("sleep", {"key": "held", "seconds": 0}, select="agent=sleeper")
    await eventually(lambda: coordinator.dispatcher.all_held() == 1)
    assert await held.cancel()
    assert (await held.outcome(5)).state == "canceled"
    await eventually(lambda: coordinator.dispatcher.all_held() == 0, 0.5)
    assert await first.result(5) == "long"
    after = await client.submit("sleep", {"key": "next", "seconds": 0}, select="agent=sleeper")
    assert await after.result(5) == "next"
    assert sleeper.begun == ["long", "next"]


async def test_cancel_while_it_is_queued_at_the_agent(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    sleeper = Sleeper()
    runtime = await join(sleeper.agent)
    for quick in await client.submit_many("sleep", [{"key": "q", "seconds": 0}] * 20):
        await quick.result(5)
    first = await client.submit("sleep", {"key": "long", "seconds": 0.8})
    queued = await client.submit("sleep", {"key": "queued", "seconds": 0})
    await eventually(lambda: queued.id in runtime.intake.held)
    assert await queued.cancel()
    assert (await queued.outcome(5)).state == "canceled"
    await eventually(lambda: queued.id not in runtime.intake.held, 0.5)
    assert await first.result(5) == "long"
    assert "queued" not in sleeper.begun


async def test_cancel_while_an_async_handler_runs(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    sleeper = Sleeper()
    runtime = await join(sleeper.agent)
    handle = await client.submit("sleep", {"key": "long", "seconds": 30})
    await eventually(lambda: sleeper.begun == ["long"])
    assert await client.cancel(handle.id, "enough")
    with pytest.raises(TaskCanceled, match="enough"):
        await handle.result(timeout=5)
    await eventually(lambda: sleeper.interrupted == ["long"])
    await eventually(lambda: not runtime.intake.held)
    assert runtime.load.running == 0


async def test_cancel_while_a_plain_function_runs(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    """It cannot be interrupted, but it can look."""
    seen = threading.Event()
    begun = threading.Event()
    agent = Agent("plain")

    @agent.capability("wait")
    def wait(task: Task) -> str:
        begun.set()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if task.canceled:
                seen.set()
                return "saw it"
            time.sleep(0.01)
        return "did not see it"

    await join(agent)
    handle = await client.submit("wait")
    assert await asyncio.to_thread(begun.wait, 5)
    assert await handle.cancel()
    assert (await handle.outcome(5)).state == "canceled"
    assert await asyncio.to_thread(seen.wait, 5)


async def test_cancel_comes_too_late(client: Client, coordinator: Coordinator, join: Join) -> None:
    sleeper = Sleeper()
    await join(sleeper.agent)
    handle = await client.submit("sleep", {"key": "done", "seconds": 0})
    assert await handle.result(5) == "done"
    assert not await handle.cancel()
    assert not await client.cancel(handle.id)
    assert await client.get(handle.id) == await handle.outcome()


async def test_many_cancels_as_the_tasks_are_given_out(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    """Wherever the cancellation meets a task, one result stands and nothing is left behind."""
    sleeper = Sleeper(slots=4)
    runtime = await join(sleeper.agent)
    handles = await client.submit_many(
        "sleep", [{"key": f"{i}", "seconds": 0.02} for i in range(200)]
    )
    won = await asyncio.gather(*(handle.cancel() for handle in handles[::2]))
    states = [(await handle.outcome(10)).state for handle in handles]
    assert set(states[1::2]) == {"completed"}
    assert [state == "canceled" for state in states[::2]] == won
    assert any(won)
    await eventually(lambda: not runtime.intake.held)
    assert coordinator.dispatcher.all_held() == 0
