"""What passes between a caller and a handler."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from agent_runtime import Agent, Task
from bus import Client
from bus.client.options import root_trace
from bus.errors import TaskFailed
from bus.testing import eventually
from coordinator import Coordinator
from tests.conftest import Join

BIG = 3 * 1024 * 1024


async def test_each_item_of_an_async_generator_is_progress(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("stream")

    @agent.capability("count")
    async def count(to: int) -> AsyncIterator[int]:
        for i in range(to):
            yield i
            await asyncio.sleep(0.01)

    await join(agent)
    handle = await client.submit("count", {"to": 5})
    seen = [progress async for progress in handle.progress()]
    assert [progress.value for progress in seen] == [0, 1, 2, 3, 4]
    assert [progress.seq for progress in seen] == [1, 2, 3, 4, 5]
    assert await handle.result(5) == 4


async def test_each_item_of_a_plain_generator_is_progress(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("stream")
    homes: set[int] = set()

    @agent.capability("count")
    def count(to: int) -> Iterator[int]:
        for i in range(to):
            homes.add(threading.get_ident())
            yield i

    await join(agent)
    handle = await client.submit("count", {"to": 5})
    assert [progress.value async for progress in handle.progress()] == [0, 1, 2, 3, 4]
    assert await handle.result(5) == 4
    assert threading.get_ident() not in homes


async def test_progress_from_a_plain_function_with_message_and_fraction(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("plain")

    @agent.capability("work")
    def work(task: Task) -> str:
        task.progress(message="half", fraction=0.5)
        return "done"

    await join(agent)
    handle = await client.submit("work")
    [half] = [progress async for progress in handle.progress()]
    assert (half.message, half.fraction, half.agent, half.attempt) == ("half", 0.5, "plain", 1)


async def test_big_payloads_travel_both_ways(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("big")

    @agent.capability("turn")
    async def turn(data: bytes) -> bytes:
        return data[::-1]

    await join(agent)
    data = os.urandom(BIG)
    handle = await client.submit("turn", data)
    assert await handle.result(20) == data[::-1]
    # The stored result can be asked for again, by anybody.
    stored = await client.get(handle.id)
    assert not isinstance(stored, str)
    assert stored.value() == data[::-1]
    assert await client.call("turn", data, timeout=20) == data[::-1]


async def test_usage_adds_up_and_travels_on_the_result(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("model")

    @agent.capability("infer")
    async def infer(task: Task) -> str:
        task.usage(tokens=800, cost=0.004)
        task.usage(tokens=12)
        return "text"

    await join(agent)
    result = await (await client.submit("infer")).outcome(5)
    assert result.usage == {"tokens": 812, "cost": 0.004}


async def test_nested_tasks_inherit_trace_and_deadline(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    seen: dict[str, tuple[str, float | None]] = {}
    agent = Agent("nest", slots=4)

    @agent.capability("outer")
    async def outer(task: Task) -> list[str]:
        seen["outer"] = (task.traceparent, task.deadline)
        called = await task.call("inner", {"how": "called"})
        handle = await task.submit("inner", {"how": "submitted"})
        return [called, await handle.result(5)]

    @agent.capability("inner")
    def inner(task: Task, how: str) -> str:
        seen[how] = (task.traceparent, task.deadline)
        return how

    @agent.capability("threaded")
    def threaded(task: Task) -> str:
        return str(task.run(task.call("inner", {"how": "threaded"})))

    await join(agent)
    handle = await client.submit("outer", deadline=30)
    assert await handle.result(10) == ["called", "submitted"]
    trace, deadline = seen["outer"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace)
    for how in ("called", "submitted"):
        inner_trace, inner_deadline = seen[how]
        assert inner_trace[:36] == trace[:36]
        assert inner_trace != trace
        assert inner_deadline == deadline
    assert await (await client.submit("threaded")).result(10) == "threaded"


async def test_a_task_without_a_traceparent_begins_a_trace_of_its_own(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    traces: list[str] = []
    agent = Agent("traced")

    @agent.capability("look")
    async def look(task: Task) -> None:
        traces.append(task.traceparent)

    await join(agent)
    begins = await client.submit("look")
    await begins.result(5)
    given = f"00-{'a1' * 16}-{'b2' * 8}-00"
    await (await client.submit("look", headers={"traceparent": given})).result(5)
    await (await client.submit("look", headers={"traceparent": "garbage"})).result(5)
    first, second, third = traces
    assert first == root_trace(begins.id)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", first)
    assert second == given
    assert third not in (first, "garbage")


async def test_the_callers_own_headers_reach_the_handler(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("reader")

    @agent.capability("read")
    async def read(task: Task) -> dict[str, str]:
        return task.headers

    await join(agent)
    handle = await client.submit("read", headers={"X-Tenant": "blue"})
    assert await handle.result(5) == {"X-Tenant": "blue"}


async def test_an_error_with_a_huge_message_is_a_result_all_the_same(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    """It travels in a header, and must not make the message too big to send."""
    agent = Agent("verbose")

    @agent.capability("fail")
    async def fail(size: int) -> None:
        raise ValueError("ä\n" * size)

    runtime = await join(agent)
    for size in (10, 50_000, 2_000_000):
        handle = await client.submit("fail", {"size": size})
        with pytest.raises(TaskFailed, match="ValueError: ä\nä"):
            await handle.result(timeout=5)
    with pytest.raises(TaskFailed, match="ValueError: ä\nä"):
        await client.call("fail", {"size": 2_000_000}, timeout=5)
    assert runtime.bus.generation == 0, "it was disconnected"


async def test_progress_that_is_too_big_is_dropped_and_the_task_goes_on(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("verbose")

    @agent.capability("tell")
    async def tell(task: Task) -> str:
        task.progress("x" * BIG)
        task.progress("small")
        return "told"

    runtime = await join(agent)
    handle = await client.submit("tell")
    assert [progress.value async for progress in handle.progress()] == ["small"]
    assert await handle.result(5) == "told"
    assert runtime.bus.generation == 0, "it was disconnected"


async def test_usage_is_bounded_because_it_travels_in_a_header(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    agent = Agent("spender")

    @agent.capability("use")
    async def use(task: Task, names: int, length: int = 4) -> None:
        task.usage(**{f"{i:0{length}}": 1 for i in range(names)})

    await join(agent)
    full = await client.submit("use", {"names": 32, "length": 64})
    assert len((await full.outcome(5)).usage) == 32
    for options in ({"names": 33}, {"names": 1, "length": 65}):
        handle = await client.submit("use", options)
        with pytest.raises(TaskFailed, match="at most 32 names"):
            await handle.result(5)


async def test_a_result_that_just_fills_a_message(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    """Around the size at which payloads go by reference, headers included."""
    agent = Agent("fill")

    @agent.capability("fill")
    async def fill(size: int) -> bytes:
        return bytes(size)

    runtime = await join(agent)
    limit = client.bus.max_payload
    for size in (limit - 8192, limit - 4096, limit - 4095, limit - 100, limit, limit + 1):
        handle = await client.submit("fill", {"size": size})
        assert len(await handle.result(10)) == size
        echoed = await client.submit("fill", bytes(size))
        assert (await echoed.outcome(10)).state == "rejected"
    await eventually(lambda: not runtime.intake.held)
    assert runtime.bus.generation == coordinator.bus.generation == client.bus.generation == 0
