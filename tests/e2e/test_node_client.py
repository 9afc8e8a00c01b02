"""A client in another language does it all with nothing but docs/subjects.md to go by.

tests/node/client.js is that client: it uses the ``nats`` package from npm and nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent_runtime import Agent, Task
from bus import Client
from bus.topology import SCHEDULES_LEVEL
from coordinator import Coordinator
from tests.conftest import Join

NODE = Path(__file__).resolve().parents[1] / "node"

pytestmark = pytest.mark.node


@pytest.fixture(scope="session")
def client_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside its installed package, outside the repository."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no node and npm on PATH")
    place = tmp_path_factory.mktemp("node")
    for name in ("package.json", "client.js"):
        shutil.copy(NODE / name, place)
    try:
        installed = subprocess.run(
            [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install the nats package within 120 s")
    if installed.returncode:
        pytest.skip(f"npm cannot install the nats package: {installed.stderr.strip()[-300:]}")
    return place / "client.js"


def echo_agent(name: str) -> Agent:
    agent = Agent(name, slots=2)

    @agent.capability("echo")
    async def echo(task: Task, text: str) -> str:
        task.progress({"chars": len(text)}, message="reading")
        return text

    return agent


async def test_a_node_client_does_it_all_from_the_documentation(
    nats_url: str,
    fleet: str,
    client: Client,
    coordinator: Coordinator,
    join: Join,
    client_script: Path,
) -> None:
    await join(echo_agent("early"))
    process = await asyncio.create_subprocess_exec(
        "node",
        str(client_script),
        nats_url,
        fleet,
        "echo",
        "late",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            ready = json.loads(await process.stdout.readline() or b"null")
            # It watches now: what it sees of this agent is news.
            await join(echo_agent("late"))
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    assert ready is not None, err.decode()
    assert ready["step"] == "ready"
    name = ready["client"]
    found: dict[str, dict[str, Any]] = {}
    for line in out.splitlines():
        step = json.loads(line)
        found[step.pop("step")] = step

    card = found["advert"]["card"]
    assert found["advert"]["subject"] == f"fleet.{fleet}.advert.late"
    assert card["agent"] == "late"
    assert card["capabilities"][0]["input_schema"]["properties"]["text"] == {"type": "string"}
    beat = found["heartbeat"]["beat"]
    assert found["heartbeat"]["subject"] == f"fleet.{fleet}.hb.default.{beat['agent']}"
    assert beat["next_in"] > 0

    assert found["submitted"]["id"] == f"{name}.1"
    assert found["submitted"]["ack"]["stream"] == f"TASKS_{fleet}"
    assert found["result"]["state"] == "completed"
    assert found["result"]["output"] == "from node"
    assert found["result"]["agent"] in ("early", "late")
    assert found["result"]["attempt"] == 1
    assert found["progress"]["value"] == {"chars": 9}
    assert found["again"]["ack"]["duplicate"] is True
    assert found["later"] == found["result"]
    assert found["nothing"] == {"status": 404}

    assert (found["call"]["state"], found["call"]["output"]) == ("completed", "a call")
    assert found["agents"]["names"] == ["early", "late"]
    assert (found["reply"]["state"], found["reply"]["output"]) == ("ok", "pong")

    assert found["canceled"]["state"] == "canceled"
    assert found["canceled"]["error"] == {"message": "changed my mind"}
    assert found["canceled"]["purged"] == 1
    assert found["canceled"]["won"]["stream"] == f"RESULTS_{fleet}"
    assert found["too late"] == {"code": 10071}
    assert found["rejected"]["state"] == "rejected"
    assert found["rejected"]["error"]["field"] == "text"
    if await client.bus.api_level() >= SCHEDULES_LEVEL:
        assert found["scheduled"]["state"] == "completed"
        assert found["scheduled"]["output"] == "later"
