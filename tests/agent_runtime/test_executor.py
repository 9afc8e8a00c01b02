"""How handlers are run and ended, seen by whoever waits for the result."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from typing import Any

import pytest

from agent_runtime import Agent, Task
from agent_runtime.delivery import Delivery
from agent_runtime.held import Held
from agent_runtime.outcome import Again
from bus import Client, connect
from bus.errors import DecodeError
from bus.testing import eventually, fresh_fleet
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.task import ErrorInfo
from tests.conftest import Join

pytestmark = pytest.mark.usefixtures("coordinator")


async def test_plain_functions_run_side_by_side_in_threads(client: Client, join: Join) -> None:
    agent = Agent("a", slots=3)
    barrier = threading.Barrier(3, timeout=5)

    @agent.capability("meet")
    def meet(task: Task) -> str:
        barrier.wait()
        task.progress({"at": "barrier"})
        return threading.current_thread().name

    await join(agent)
    handles = await client.submit_many("meet", [{}] * 3)
    names = await asyncio.gather(*(handle.result(timeout=5) for handle in handles))
    assert len(set(names)) == 3
    assert all(name.startswith("task-a") for name in names)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (SystemExit(2), "SystemExit"),
        (StopIteration(), "RuntimeError"),
        (BaseException("a panic of an extension"), "BaseException"),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
async def test_whatever_is_raised_is_the_tasks_failure_and_costs_no_slot(
    client: Client, join: Join, raised: BaseException, kind: str, plain: bool
) -> None:
    agent = Agent("a", slots=1)

    def sync_boom() -> None:
        raise raised

    async def boom() -> None:
        raise raised

    @agent.capability("echo")
    async def echo(text: str) -> str:
        return text

    agent.capability("boom")(sync_boom if plain else boom)
    runtime = await join(agent)
    result = await (await client.submit("boom")).outcome(timeout=5)
    assert (result.state, result.error.kind if result.error else "") == ("failed", kind)
    assert await (await client.submit("echo", "on")).result(timeout=5) == "on"
    await eventually(lambda: (runtime.load.running, runtime.intake.held) == (0, {}))


async def test_plain_function_sees_the_tasks_context(client: Client, join: Join) -> None:
    agent = Agent("a", slots=2)
    seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="none")

    @agent.capability("mark")
    def mark(text: str) -> str:
        before = seen.get()
        seen.set(text)
        return before

    await join(agent)
    for text in ("one", "two", "three"):
        # What one task sets no other one sees, though threads are used again.
        assert await (await client.submit("mark", text)).result(timeout=5) == "none"


async def test_canceled_before_its_first_step_never_runs(client: Client, join: Join) -> None:
    agent = Agent("a", slots=1)
    begun: list[str] = []

    @agent.capability("work")
    async def work(text: str) -> None:
        begun.append(text)

    runtime = await join(agent)
    executor = runtime.executor
    start = executor._start

    def start_and_cancel(held: Held) -> None:
        start(held)
        assert not held.begun
        executor.cancel(held, "too late to begin")

    executor._start = start_and_cancel
    result = await (await client.submit("work", "x")).outcome(timeout=5)
    assert (result.state, begun) == ("canceled", [])
    assert result.error is not None
    assert result.error.message == "too late to begin"
    assert (runtime.load.running, runtime.load.done, runtime.load.canceled) == (0, 1, 1)


async def test_canceled_while_it_waits_frees_its_place(client: Client, join: Join) -> None:
    agent = Agent("a", slots=1)
    go = asyncio.Event()

    @agent.capability("work")
    async def work(text: str) -> str:
        await go.wait()
        return text

    runtime = await join(agent)
    runtime.load.window = 2  # as if it had run short tasks
    runtime.presence.beat()
    first = await client.submit("work", "first")
    second = await client.submit("work", "second")
    await eventually(lambda: runtime.load.queued == 1)
    assert runtime.intake.cancel(second.id, "not wanted")
    assert (await second.outcome(timeout=5)).state == "canceled"
    assert (runtime.load.queued, runtime.load.canceled) == (0, 1)
    assert not runtime.intake.cancel(second.id, "again")
    go.set()
    assert await first.result(timeout=5) == "first"


async def test_async_handler_is_interrupted_at_its_timeout(client: Client, join: Join) -> None:
    agent = Agent("a")
    ended: list[str] = []

    @agent.capability("slow", timeout=0.05)
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("ended")

    await join(agent)
    result = await (await client.submit("slow", max_attempts=1)).outcome(timeout=5)
    assert (result.state, ended) == ("failed", ["ended"])
    assert result.error is not None
    assert result.error.kind == "Timeout"
    assert result.error.message == "ran longer than its timeout of 0.05 s"


async def test_its_own_timeout_error_is_not_taken_for_ours(client: Client, join: Join) -> None:
    agent = Agent("a")

    @agent.capability("ask", timeout=30.0, retry_on=())
    async def ask() -> None:
        raise TimeoutError("the database is slow")

    await join(agent)
    result = await (await client.submit("ask")).outcome(timeout=5)
    assert result.error is not None
    assert (result.error.kind, result.error.message) == ("TimeoutError", "the database is slow")


async def test_deadline_ends_a_run(client: Client, join: Join) -> None:
    agent = Agent("a")

    @agent.capability("slow", timeout=30.0)
    async def slow() -> None:
        await asyncio.sleep(60)

    await join(agent)
    begun = time.monotonic()
    result = await (await client.submit("slow", deadline=0.3)).outcome(timeout=5)
    assert result.state == "expired"
    assert time.monotonic() - begun < 3


async def test_a_deadline_is_one_by_whatever_clock_it_was_timed(
    client: Client, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent("a")
    now = time.time

    @agent.capability("slow")
    async def slow() -> None:
        # Set back, as by NTP: the timer fires before this clock has come to the deadline.
        monkeypatch.setattr(time, "time", lambda: now() - 1.0)
        await asyncio.sleep(60)

    await join(agent)
    result = await (await client.submit("slow", deadline=0.3)).outcome(timeout=5)
    assert (result.state, result.agent, result.attempt) == ("expired", "a", 1)


async def test_usage_takes_any_number(client: Client, join: Join) -> None:
    agent = Agent("a")
    quarter: Any = Fraction(1, 4)

    @agent.capability("work")
    async def work(task: Task) -> None:
        task.usage(tokens=812, cost=quarter)
        task.usage(tokens=1)

    await join(agent)
    result = await (await client.submit("work")).outcome(timeout=5)
    assert result.usage == {"tokens": 813, "cost": 0.25}


async def test_generators_are_closed_when_they_are_canceled(client: Client, join: Join) -> None:
    agent = Agent("a", slots=2)
    begun: list[str] = []
    closed: list[str] = []

    @agent.capability("count")
    async def count() -> AsyncIterator[int]:
        try:
            begun.append("async")
            while True:
                yield 1
                await asyncio.sleep(0.01)
        finally:
            closed.append("async")

    @agent.capability("plain-count")
    def plain_count() -> Iterator[int]:
        try:
            begun.append("plain")
            while True:
                yield 1
                time.sleep(0.01)
        finally:
            closed.append("plain")

    runtime = await join(agent)
    handles = [await client.submit(name) for name in ("count", "plain-count")]
    # One that was taken and has not begun has nothing to close.
    await eventually(lambda: sorted(begun) == ["async", "plain"])
    for handle in handles:
        assert runtime.intake.cancel(handle.id, "enough")
        assert (await handle.outcome(timeout=5)).state == "canceled"
    await eventually(lambda: sorted(closed) == ["async", "plain"])


async def test_the_last_item_is_the_result(client: Client, join: Join) -> None:
    agent = Agent("a")

    @agent.capability("steps")
    def steps() -> Iterator[int]:
        yield from range(4)

    @agent.capability("none")
    async def none() -> AsyncIterator[int]:
        for item in range(0):
            yield item

    await join(agent)
    assert await (await client.submit("steps")).result(timeout=5) == 3
    assert await (await client.submit("none")).result(timeout=5) is None


# outcomes that cannot be delivered


def dispatch(**fields: str) -> Inbound:
    values = {
        h.TASK: "me.1",
        h.ACK: "$JS.ACK.S.C.1.1.1.1.0",
        **{k.replace("_", "-"): v for k, v in fields.items()},
    }
    return Inbound("d", "", b"{}", h.encode(values.items()))


def held(**fields: str) -> Held:
    agent = Agent("a")
    agent.capability("echo")(lambda: None)
    return Held(dispatch(**fields), agent.offers["echo"], time.monotonic(), 10.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"Fleet_Task": "nodot"},
        {"Fleet_Task": "a.b.c"},
        {"Fleet_Attempt": "one"},
        {"Fleet_Max_Attempts": ""},
        {"Fleet_Deadline": "soon"},
        {"Fleet_Deadline": "9" * 400},
        {"Fleet_Ack": ""},
    ],
)
def test_dispatch_that_cannot_be_read(fields: dict[str, str]) -> None:
    with pytest.raises(DecodeError, match="dispatch"):
        held(**fields)


async def test_what_cannot_be_buried_is_let_go(
    nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Held on, it would be kept from all others by its in-progress acks for ever."""
    async with connect(nats_url, fresh_fleet()) as bus:  # a fleet without streams
        released: list[Any] = []
        delivery = Delivery(bus, "a", lambda: None, released.append)
        one = held(Fleet_Attempt="3")
        assert delivery.finish(one, Again(ErrorInfo("no", "X")), 0.1) == "failed"
        await eventually(lambda: released == [one])
        await delivery.drained()
        assert "an outcome was not delivered" in caplog.text
