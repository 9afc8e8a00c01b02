"""A task from submit to result, through real processes' code on a real server."""

from __future__ import annotations

import asyncio

import pytest

from agent_runtime import Agent, Retry, Task
from bus import Client
from bus.errors import TaskFailed, TaskRejected
from coordinator import Coordinator
from tests.conftest import Join


def echo_agent(name: str = "a1", slots: int = 4) -> Agent:
    agent = Agent(name, slots=slots)

    @agent.capability("echo")
    async def echo(text: str) -> str:
        return text

    return agent


async def test_submitted_task_completes(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(echo_agent())
    handle = await client.submit("echo", {"text": "hello"})
    result = await handle.outcome(timeout=5)
    assert result.state == "completed"
    assert result.value() == "hello"
    assert result.agent == "a1"
    assert result.attempt == 1


async def test_task_submitted_before_anybody_is_there(
    nats_url: str, fleet: str, client: Client, join: Join
) -> None:
    handle = await client.submit("echo", {"text": "early"})
    async with Coordinator.connect(nats_url, fleet):
        await join(echo_agent())
        assert await handle.result(timeout=5) == "early"


async def test_call_answers(client: Client, coordinator: Coordinator, join: Join) -> None:
    await join(echo_agent())
    assert await client.call("echo", {"text": "now"}, timeout=5) == "now"


async def test_many_tasks_are_each_done_once(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(echo_agent("a1"))
    await join(echo_agent("a2"))
    handles = await client.submit_many("echo", [{"text": str(i)} for i in range(500)])
    results = await asyncio.gather(*[handle.result(timeout=20) for handle in handles])
    assert results == [str(i) for i in range(500)]


async def test_failure_names_the_error(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("broken")

    @agent.capability("boom")
    async def boom() -> None:
        raise ValueError("no such thing")

    await join(agent)
    handle = await client.submit("boom")
    with pytest.raises(TaskFailed, match="ValueError: no such thing") as raised:
        await handle.result(timeout=5)
    assert raised.value.kind == "ValueError"


async def test_bad_input_is_rejected_and_names_the_field(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(echo_agent())
    handle = await client.submit("echo", {"text": 5})
    with pytest.raises(TaskRejected) as raised:
        await handle.result(timeout=5)
    assert raised.value.field == "text"


async def test_retry_runs_again_with_the_next_attempt(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("flaky")
    attempts: list[int] = []

    @agent.capability("flaky")
    async def flaky(task: Task) -> int:
        attempts.append(task.attempt)
        if task.attempt < 3:
            raise Retry("not yet", after=0.01)
        return task.attempt

    await join(agent)
    handle = await client.submit("flaky")
    assert await handle.result(timeout=10) == 3
    assert attempts == [1, 2, 3]
