"""The demo as a person runs it: a process of its own, on a small folder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from bus.testing import eventually

pytestmark = pytest.mark.slow

PROSE = (
    "The lighthouse stands on the northern cliff. Its lamp is lit every evening by the keeper. "
    "Ships that pass the cliff at night look for the lamp of the lighthouse. "
    "A keeper who sleeps is a danger to every ship.\n\n"
)
SOURCE = '''"""A module of the test."""

import json
import os.path


class Lamp:
    def light(self, hour: int) -> bool:
        return hour > 18


def keeper(name: str) -> str:
    # TODO: who sleeps?
    return json.dumps({"name": name, "here": os.path.exists("/")})
'''


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    for number in range(12):
        (folder / f"prose-{number}.txt").write_text(PROSE * (number + 1) * 8, encoding="utf-8")
        (folder / "deep" / f"module_{number}.py").write_text(
            SOURCE + f"\n\ndef more_{number}() -> int:\n    return {number}\n" * (number + 1),
            encoding="utf-8",
        )
    (folder / "deep" / "broken.py").write_text("def broken(:\n", encoding="utf-8")
    (folder / "picture.bin").write_bytes(bytes(range(256)) * 10)
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the demo makes its directories; nothing may be left there."""
    place = tmp_path / "scratch"
    place.mkdir()
    return place


@asynccontextmanager
async def demo(
    corpus: Path, scratch: Path, *options: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The demo as a process, which a test that fails does not leave behind."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetbus", "demo", "--dir", str(corpus), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # A person's settings for another fleet are none of the demo's business.
        env={
            **os.environ,
            "TMPDIR": str(scratch),
            "FLEETBUS_URL": "nats://127.0.0.1:1",
            "FLEETBUS_NAME": "somebody",
            "FLEETBUS_CREDS": "/nowhere/else.creds",
        },
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.fault
async def test_every_task_has_one_result_although_an_agent_is_killed(
    corpus: Path, scratch: Path
) -> None:
    async with demo(corpus, scratch, "--tasks", "300", "--json") as process, asyncio.timeout(90):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode() + output.decode()
    document = json.loads(output)
    assert document["ok"] is True
    assert document["files"] == 25
    assert document["tasks"] == document["results"] == document["stored_results"] == 300
    assert document["most_results_of_a_task"] == 1
    assert document["lost"] == document["left"] == document["failed"] == 0
    assert document["executions"] >= 300
    assert 0 < document["p50_ms"] <= document["p99_ms"]
    assert document["failover"]["agent"] == "doomed"
    assert document["failover"]["lost_after"] < 5
    agents = {one["agent"]: one for one in document["agents"]}
    assert set(agents) == {"fast-1", "fast-2", "slow", "doomed"}
    assert sum(one["results"] for one in agents.values()) == 300
    assert agents["slow"]["results"] < agents["fast-1"]["results"]
    assert agents["doomed"]["state"] == "lost"
    # A task that is rescued was held; what was running when it was killed ran again elsewhere.
    again = document["executions"] - document["tasks"]
    assert again <= document["failover"]["rescued"]
    findings = " ".join(one["text"] for one in document["findings"])
    assert "lighthouse" in findings
    assert "module_11.py" in findings
    assert list(scratch.iterdir()) == []


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_leaves_nothing_behind(
    corpus: Path, scratch: Path, number: signal.Signals
) -> None:
    async with (
        demo(corpus, scratch, "--tasks", "100000") as process,
        asyncio.timeout(60),
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        # The first line of progress: everything runs.
        while b" done, " not in (line := await process.stdout.readline()):
            assert line, (await process.stderr.read()).decode()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 7  # server, two coordinators, four agents
        assert list(scratch.iterdir()) != []
        process.send_signal(number)
        process.send_signal(number)  # an impatient person
        await process.communicate()
    assert process.returncode == 130
    await eventually(lambda: not [one for one in children if is_alive(one)])
    assert list(scratch.iterdir()) == []


async def test_a_folder_without_text_is_refused(tmp_path: Path, scratch: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    async with demo(empty, scratch) as process, asyncio.timeout(30):
        output, errors = await process.communicate()
    assert process.returncode == 1
    assert output == b""
    assert errors.decode().startswith("error: ")
    assert str(empty) in errors.decode()
    assert errors.count(b"\n") == 1


def is_alive(process: psutil.Process) -> bool:
    try:
        # In a container there may be nobody who reaps orphans: they stay as zombies.
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
