"""Functions of the user's that hang: they cost a thread each, and nobody else anything."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_runtime import Agent, callbacks, secrets
from agent_runtime.calling import StillRunningError, TookTooLongError, bounded, check
from bus import Bus
from bus.testing import eventually
from tests.conftest import Join
from tests.support.configuring import Desk

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def desk(bus: Bus) -> Desk:
    return await Desk(bus).start()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Ends what hangs, at the latest with the test."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "configuration":
            thread.join(5)


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "configuration"]


async def test_function_that_hangs_is_not_called_again_until_it_has_returned(
    release: threading.Event,
) -> None:
    calls: list[int] = []

    def hang(number: int) -> int:
        calls.append(number)
        release.wait(20)
        return number

    with pytest.raises(TookTooLongError, match=r"it did not return within 0\.05 s"):
        await bounded(hang, 1, seconds=0.05)
    for number in (2, 3):
        with pytest.raises(StillRunningError, match="its previous call has not returned yet"):
            await bounded(hang, number, seconds=0.05)
    assert (calls, len(ours())) == ([1], 1)
    release.set()
    await eventually(lambda: not ours())
    assert await bounded(hang, 4, seconds=5) == 4
    assert calls == [1, 4]


async def test_call_that_was_given_up_counts_too(release: threading.Event) -> None:
    def hang() -> None:
        release.wait(20)

    waiting = asyncio.ensure_future(bounded(hang, seconds=20))
    await eventually(ours)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(StillRunningError):
        check(hang)


async def test_async_function_that_will_not_be_interrupted() -> None:
    go = asyncio.Event()

    async def stubborn() -> str:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        return "done"

    with pytest.raises(TookTooLongError):
        await bounded(stubborn, seconds=0.05)
    with pytest.raises(StillRunningError):
        await bounded(stubborn, seconds=0.05)
    go.set()

    def returned() -> bool:
        try:
            check(stubborn)
        except StillRunningError:
            return False
        return True

    await eventually(returned)
    assert await bounded(stubborn, seconds=5) == "done"


async def test_each_key_by_itself(release: threading.Event) -> None:
    def read(path: str) -> str:
        if path == "hangs":
            release.wait(20)
        return path

    with pytest.raises(TookTooLongError):
        await bounded(read, "hangs", seconds=0.05, key="hangs")
    with pytest.raises(StillRunningError):
        await bounded(read, "hangs", seconds=0.05, key="hangs")
    assert await bounded(read, "well", seconds=5, key="well") == "well"


async def test_many_that_hang_leave_the_loops_own_threads_alone(release: threading.Event) -> None:
    def hanging() -> Callable[[], None]:
        return lambda: void(release.wait(20))

    many = [bounded(hanging(), seconds=0.05) for _ in range(40)]
    ends = await asyncio.gather(*many, return_exceptions=True)
    assert {type(one) for one in ends} == {TookTooLongError}
    async with asyncio.timeout(5):
        assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)


def void(_: object) -> None:
    """For lambdas."""


async def test_what_a_plain_function_returns_raises_and_sees() -> None:
    seen = contextvars.ContextVar[str]("seen", default="nothing")
    seen.set("the context")
    assert await bounded(seen.get, seconds=5) == "the context"
    with pytest.raises(ZeroDivisionError):
        await bounded(lambda: 1 / 0, seconds=5)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await bounded(lambda: next(iter(())), seconds=5)


async def test_process_ends_although_a_function_does_not(tmp_path: Path) -> None:
    file = tmp_path / "hangs.py"
    file.write_text(
        "import asyncio, time\n"
        "from agent_runtime.calling import TookTooLongError, bounded\n"
        "async def main():\n"
        "    try:\n"
        "        await bounded(time.sleep, 600, seconds=0.1)\n"
        "    except TookTooLongError:\n"
        "        print('given up', flush=True)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(file)),
        env={"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            output, _ = await process.communicate()
        assert (process.returncode, output) == (0, b"given up\n")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_resolver_that_hangs_costs_one_thread_and_is_asked_again_when_it_is_back(
    desk: Desk, join: Join, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "TIME", 0.05)
    monkeypatch.setattr("agent_runtime.configuration.RETRY", (0.02, 0.04))
    calls: list[str] = []

    def vault(rest: str) -> str:
        calls.append(rest)
        release.wait(20)
        return "s3cret"

    agent = Agent("a", secrets={"vault": vault})
    runtime = await join(agent)
    await desk.put("global", {"key": "secret://vault/key"})
    current = runtime.configured.current
    reason = (
        "secret://vault/key: resolver 'vault': it was not called: its previous call has not "
        "returned yet"
    )
    await eventually(lambda: current.rejection is not None and current.rejection.reason == reason)
    first = current._timers.get("retry")
    await eventually(lambda: current._timers.get("retry") not in (first, None))
    assert (calls, len(ours())) == (["key"], 1)
    release.set()
    await eventually(lambda: agent.config == {"key": "s3cret"})


async def test_callback_that_hangs_is_asked_again_when_it_has_returned(
    desk: Desk, join: Join, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "TIME", 0.05)
    monkeypatch.setattr("agent_runtime.configuration.RETRY", (0.02, 0.04))
    agent = Agent("a")
    others: list[Any] = []

    @agent.on_config("x")
    async def other(new: Any, old: Any) -> None:
        others.append(new)

    @agent.on_config("x")
    def hang(new: Any, old: Any) -> None:
        if new == 1:
            release.wait(20)

    runtime = await join(agent)
    await desk.put("global", {"x": 1})
    await eventually(lambda: len(desk.events) == 1)
    assert others == [None, 1, None]
    # Another one that would be good. Nobody is called while the one before is in there.
    await desk.put("global", {"x": 2})
    await eventually(lambda: len(desk.events) == 2)
    assert desk.events[1].data["reason"].endswith("its previous call has not returned yet")
    current = runtime.configured.current
    planned = current._timers.get("retry")
    await eventually(lambda: current._timers.get("retry") not in (planned, None))
    assert others == [None, 1, None]
    assert len(ours()) == 1
    release.set()
    await eventually(lambda: agent.config == {"x": 2})
    assert current.rejection is None
