"""Handlers that ask others, side by side."""

from __future__ import annotations

import asyncio

from agent_runtime import Agent, Task
from bus import Client
from coordinator import Coordinator
from tests.conftest import Join


async def test_parallel_calls_with_big_inputs_are_not_mixed_up(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("nested", slots=16)

    @agent.capability("first")
    async def first(data: bytes) -> str:
        return chr(data[0])

    @agent.capability("spread")
    async def spread(task: Task, letters: str) -> list[str]:
        inputs = [letter.encode() * 2_000_000 for letter in letters]
        return list(await asyncio.gather(*(task.call("first", one) for one in inputs)))

    await join(agent)
    handle = await client.submit("spread", {"letters": "abcd"})
    assert await handle.result(timeout=20) == ["a", "b", "c", "d"]


async def test_parallel_first_submits_all_hear_of_their_results(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("nested", slots=16)

    @agent.capability("double")
    async def double(number: int) -> int:
        return 2 * number

    @agent.capability("spread")
    async def spread(task: Task, count: int) -> int:
        handles = await asyncio.gather(
            *(task.submit("double", {"number": number}) for number in range(count))
        )
        return sum([await handle.result(timeout=10) for handle in handles])

    await join(agent)
    handle = await client.submit("spread", {"count": 8})
    assert await handle.result(timeout=20) == 56
