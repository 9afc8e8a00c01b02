"""Handlers that will not stop: neither a slot nor a process may wait for them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from agent_runtime import Agent, Task
from bus import Client
from bus.testing import eventually
from coordinator import Coordinator
from tests.conftest import Join

STUBBORN = """
import asyncio, time
from agent_runtime import Agent

agent = Agent("stubborn", slots=2, grace=0.2)


@agent.capability("thread")
def thread() -> None:
    print("in", flush=True)
    time.sleep(600)


@agent.capability("loop")
async def loop() -> None:
    print("in", flush=True)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


agent.run(wait=False)
"""


@pytest.mark.parametrize("capability", ["thread", "loop"])
async def test_process_ends_although_a_handler_does_not(
    capability: str,
    nats_url: str,
    fleet: str,
    client: Client,
    coordinator: Coordinator,
    tmp_path: Path,
) -> None:
    file = tmp_path / "stubborn.py"
    file.write_text(STUBBORN)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(file)),
        env={
            **os.environ,
            "FLEETBUS_URL": nats_url,
            "FLEETBUS_FLEET": fleet,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert b"ready" in await process.stdout.readline()
            handle = await client.submit(capability)
            assert await process.stdout.readline() == b"in\n"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        assert not handle.finished.done()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_slot_belongs_to_a_thread_until_it_ends(
    client: Client, coordinator: Coordinator, join: Join
) -> None:
    release = threading.Event()
    agent = Agent("hangs", slots=1)

    @agent.capability("hang", timeout=0.2)
    def hang() -> None:
        release.wait(20)

    @agent.capability("quick")
    def quick(task: Task) -> int:
        return task.attempt

    runtime = await join(agent)
    try:
        hanging = await client.submit("hang", max_attempts=1)
        result = await hanging.outcome(timeout=10)
        assert result.state == "failed"
        assert result.error is not None
        assert result.error.kind == "Timeout"
        assert runtime.load.running == 1
        waiting = await client.submit("quick")
        assert (await asyncio.wait((waiting.finished,), timeout=0.3))[0] == set()
    finally:
        release.set()
    assert await waiting.result(timeout=10) == 1
    await eventually(lambda: runtime.load.running == 0)
