"""``fleetbus up``: a whole fleet as one process tree, and nothing of it left afterwards."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from bench.sites.server import free_ports
from bus import Client
from bus.server import NatsServer
from bus.testing import eventually
from tests.fleetbus.test_agent import ECHO
from tests.support.cli import Running, fleetbus, started
from tests.support.mqtt import Device


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    path = tmp_path / "echo_target.py"
    path.write_text(ECHO.format(suffix=""))
    return path


def tree(run: Running) -> list[psutil.Process]:
    """The processes below a command."""
    found: list[psutil.Process] = psutil.Process(run.process.pid).children(recursive=True)
    return found


def alive(processes: list[psutil.Process]) -> list[str]:
    return [str(p) for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


async def url_of(run: Running) -> str:
    ready = await run.says("ready: nats://", timeout=20)
    return ready.split()[1].rstrip(",")


async def test_fleet_works_and_leaves_nothing(echo: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    arguments = ("up", f"{echo}:agent", "--port", "0", "--coordinators", "2", "-f", "mine")
    async with started(*arguments, TMPDIR=str(temporary)) as run:
        url = await url_of(run)
        assert "2 coordinators, 1 agents: echo-1" in run.text
        assert f"fleetbus agents -u {url} -f mine" in run.text
        async with Client.connect(url, "mine") as client:
            assert await client.call("echo", {"text": "hi"}, timeout=5) == "hi"
            handle = await client.submit("echo", {"text": "stored"})
            assert await handle.result(timeout=5) == "stored"
        below = tree(run)
        assert len(below) == 2  # the server and one agent
        assert await run.end(signal.SIGINT) == 0
        assert alive(below) == []
        assert "Traceback" not in run.text
    assert list(temporary.iterdir()) == []


async def test_store_is_kept(echo: Path, tmp_path: Path) -> None:
    arguments = ("up", str(echo), "--port", "0", "--store", str(tmp_path / "data"))
    async with started(*arguments) as run:
        async with Client.connect(await url_of(run)) as client:
            handle = await client.submit("echo", {"text": "kept"})
            await handle.result(timeout=5)
        assert await run.end(signal.SIGTERM) == 0
    async with started(*arguments) as run:
        async with Client.connect(await url_of(run)) as client:
            result = await client.get(handle.id)
            assert getattr(result, "state", result) == "completed"
        assert await run.end() == 0


async def test_a_device_that_speaks_mqtt_joins(echo: Path) -> None:
    port = free_ports(1)[0]
    arguments = ("up", f"{echo}:agent", "--port", "0", "--mqtt", str(port), "-f", "mine")
    async with started(*arguments) as run:
        url = await url_of(run)
        assert f"MQTT on 127.0.0.1:{port}" in run.text
        async with (
            Client.connect(url, "mine") as client,
            Device(port, "mine", "relay-1", handle=lambda task: {"output": "on"}),
        ):
            handle = await client.submit("blink")
            assert await handle.result(timeout=5) == "on"
        assert await run.end() == 0


@pytest.mark.fault
async def test_killed_it_takes_all_with_it(echo: Path, tmp_path: Path) -> None:
    # The server's directory stays then: nobody is left to remove it.
    async with started("up", str(echo), "--port", "0", TMPDIR=str(tmp_path)) as run:
        await url_of(run)
        below = tree(run)
        assert await run.end(signal.SIGKILL) == -signal.SIGKILL
        await eventually(lambda: not alive(below))


@pytest.mark.fault
async def test_killed_agent_and_server_are_reported(echo: Path) -> None:
    async with started("up", str(echo), "--port", "0") as run:
        await url_of(run)
        below = {p.name(): p for p in tree(run)}
        server = next(p for name, p in below.items() if "nats" in name)
        agent = next(p for name, p in below.items() if "nats" not in name)
        os.kill(agent.pid, signal.SIGKILL)
        await run.says(f"agent echo-1 (process {agent.pid}) was killed by SIGKILL")
        os.kill(server.pid, signal.SIGKILL)
        await run.says("error: nats-server was killed by SIGKILL")
        assert await eventually(lambda: run.process.returncode is not None, 15)
        assert run.process.returncode == 1


async def test_agents_that_cannot_start_end_it(tmp_path: Path) -> None:
    done = await fleetbus("up", str(tmp_path / "nowhere.py"), "--port", "0")
    assert done.status == 1
    assert "there is no file" in done.err
    assert "ended with status 2 before it was ready" in done.err
    assert "Traceback" not in done.err


async def test_taken_port_is_one_clear_message(echo: Path) -> None:
    async with NatsServer() as server:
        done = await fleetbus("up", str(echo), "--port", str(server.port))
    assert done.status == 1
    assert "address already in use" in done.err
    assert "Traceback" not in done.err


async def test_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import time\nfrom agent_runtime import Agent\nagent = Agent('s')\n"
        "@agent.capability('nap')\ndef nap() -> None:\n    time.sleep(60)\n"
    )
    async with started("up", str(stubborn), "--port", "0") as run:
        async with Client.connect(await url_of(run)) as client:
            await client.submit("nap")
            below = tree(run)

            async def busy() -> bool:
                rows = (await fleetbus("agents", "--json", "-u", client.bus.settings.url)).json()
                return bool(rows[0]["running"])

            await eventually(busy, 15)
        run.send(signal.SIGINT)
        await run.says("draining the agents")
        assert await run.end(signal.SIGINT, timeout=5) == 130
        await eventually(lambda: not alive(below))
        assert "Traceback" not in run.text
