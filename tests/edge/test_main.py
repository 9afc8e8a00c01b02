"""``python -m edge``, as a process: what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus import Bus, Client, store
from coordinator import Coordinator
from tests.support.cli import ROOT, Running, launched

DECLARED = """
import asyncio, time
from edge import Agent

agent = Agent("e1", grace=30.0)

@agent.capability("sleep", params={"seconds": float})
async def sleep(task, seconds):
    print("begun", flush=True)
    await asyncio.sleep(seconds)

@agent.capability("block", params={"seconds": float})
def block(task, seconds):
    print("begun", flush=True)
    time.sleep(seconds)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "device.py"
    path.write_text(DECLARED)
    return path


@asynccontextmanager
async def started(*arguments: str, **env: str) -> AsyncIterator[Running]:
    """``python -m edge <arguments>``, killed at the end if it has not ended by then."""
    command = (sys.executable, "-m", "edge", *arguments)
    async with launched(Running, *command, cwd=ROOT, **env) as running:
        yield running


async def ended(*arguments: str, **env: str) -> tuple[int, str]:
    async with started(*arguments, **env) as running, asyncio.timeout(10):
        status = await running.process.wait()
    return status, running.text


async def test_usage() -> None:
    (status, text), (asked, help_), (many, _) = await asyncio.gather(
        ended(), ended("--help"), ended("a.py", "b.py")
    )
    assert (status, asked, many) == (2, 0, 2)
    assert text == help_
    assert text.startswith("usage: python -m edge FILE.py[:NAME]")
    assert "docs/edge.md" in text


async def test_what_cannot_be_run(tmp_path: Path, file: Path) -> None:
    folder = str(tmp_path)
    (tmp_path / "none.py").write_text("x = 1\n")
    (tmp_path / "two.py").write_text("from edge import Agent\na, b = Agent('a'), Agent('b')\n")
    (tmp_path / "wrong.py").write_text("from edge import Agent\na = Agent('a b')\n")
    (tmp_path / "lost.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "torn.py").write_text("x = 1\ny = (\n")
    (tmp_path / "torn_below.py").write_text("\nimport torn\n")
    (tmp_path / "json.py").write_text("from edge import Agent\na = Agent('a')\n")
    (tmp_path / "a.b.py").write_text("from edge import Agent\na = Agent('a')\n")
    expected = [
        ("device.txt", "device.txt: give the path of a Python file"),
        (f"{folder}/missing.py", f"{folder}/missing.py: it cannot be read: [Errno 2]"),
        (f"{folder}/none.py", "none.py: there is no edge.Agent in it: write agent = Agent(...)"),
        (f"{folder}/none.py:x", "none.py: x is no edge.Agent in it; there is no edge.Agent in it"),
        (f"{folder}/two.py", "two.py: name one of its agents: FILE.py:a, FILE.py:b"),
        (f"{folder}/two.py:c", "two.py: c is no edge.Agent in it; name one of its agents: FILE.py"),
        (f"{folder}/wrong.py", f"{folder}/wrong.py:2: agent a b: use 1 to 64 characters"),
        (f"{folder}/lost.py", f"{folder}/lost.py:1: No module named 'nowhere_to_be_found'"),
        (f"{folder}/torn.py", f"{folder}/torn.py:2: '(' was never closed"),
        (f"{folder}/torn_below.py", f"{folder}/torn.py:2: '(' was never closed"),
        (f"{folder}/json.py", "Python has a module json of its own: rename the file"),
        (f"{folder}/a.b.py", "a module's name has no dot in it: rename the file"),
    ]
    found = await asyncio.gather(*(ended(path) for path, _ in expected))
    for (path, said), (status, text) in zip(expected, found, strict=True):
        assert status == 2, text
        assert said in text, (path, text)
        assert "Traceback" not in text
        assert text.count("\n") == 0
    # A mistake in the file is shown with all that led to it.
    (tmp_path / "mistaken.py").write_text("\nx = 1 / 0\n")
    status, text = await ended(f"{folder}/mistaken.py")
    assert status == 2
    assert 'mistaken.py", line 2' in text
    assert text.endswith("mistaken.py: it cannot be imported")
    status, text = await ended(str(file), FLEETBUS_PING="soon")
    assert (status, text) == (2, "FLEETBUS_PING: soon is not a number of more than 0")


@pytest.mark.parametrize("name", ["creds", "nkey", "tls_ca", "tls_cert", "tls_key"])
async def test_a_file_that_cannot_be_read_ends_it_at_the_start(file: Path, name: str) -> None:
    status, text = await ended(str(file), **{f"FLEETBUS_{name.upper()}": "/nonexist"})
    assert status == 2
    assert text.startswith(f"{name} /nonexist: it cannot be read: [Errno 2]")


def test_errors_are_told_apart_from_output(tmp_path: Path) -> None:
    for arguments in ([], ["device.txt"], [str(tmp_path / "missing.py")]):
        command = [sys.executable, "-m", "edge", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr


async def test_one_agent_by_two_names_is_one(nats_url: str, bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "twice.py"
    path.write_text("from edge import Agent\na = b = Agent('e1')\n")
    settings = {"FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": bus.subjects.fleet}
    async with started(str(path), **settings) as running:
        await running.says("agent e1 ready")
        assert await running.end(signal.SIGTERM, 5) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(
    nats_url: str, bus: Bus, file: Path, number: signal.Signals
) -> None:
    fleet = bus.subjects.fleet
    async with started(f"{file}:agent", FLEETBUS_URL=nats_url, FLEETBUS_FLEET=fleet) as running:
        await running.says("agent e1 ready: block, sleep")
        assert await running.end(number, 5) == 0
    assert running.lines[-1] == "agent e1 stopped"
    assert "Traceback" not in running.text
    assert "never awaited" not in running.text
    key = bus.subjects.registry_keys + "e1"
    entry = await store.last(bus, bus.subjects.registry_stream, key)
    assert entry is not None
    assert entry.data == b""


@pytest.mark.parametrize("capability", ["sleep", "block"])
async def test_a_second_signal_ends_it_at_once(
    nats_url: str, client: Client, coordinator: Coordinator, file: Path, capability: str
) -> None:
    fleet = client.bus.subjects.fleet
    async with started(str(file), FLEETBUS_URL=nats_url, FLEETBUS_FLEET=fleet) as running:
        await running.says("ready")
        await client.submit(capability, {"seconds": 60})
        await running.says("begun")
        running.send(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # it waits for the task
                await running.process.wait()
        assert await running.end(signal.SIGTERM, 2) == 130


async def test_a_signal_ends_one_that_has_never_reached_a_server(file: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{one.getsockname()[1]}"
        async with started(str(file), FLEETBUS_URL=url) as running:
            await running.says("trying again")
            assert await running.end(signal.SIGTERM, 3) == 0
    assert "Traceback" not in running.text


async def test_one_that_is_replaced_ends_with_status_1(nats_url: str, bus: Bus, file: Path) -> None:
    settings = {"FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": bus.subjects.fleet}
    async with started(str(file), **settings) as first:
        await first.says("ready")
        async with started(str(file), **settings) as second, asyncio.timeout(10):
            assert await second.process.wait() == 1
        assert "agent id e1 is in use by process" in second.text
        assert first.process.returncode is None
