"""The walk through examples/config-repo, line by line, on a fleet of its own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from bus import Client
from bus.testing import eventually
from coordinator import Coordinator

ROOT = Path(__file__).resolve().parents[2]
WALK = ROOT / "examples" / "config-repo" / "README.md"


def lines() -> list[tuple[str, int]]:
    """Each command of the walk, and the status that it is said to end with."""
    part = WALK.read_text(encoding="utf-8").split("<!-- walk -->")[1].split("<!-- /walk -->")[0]
    found = []
    for line in re.findall(r"^\$ (.*)$", part, re.MULTILINE):
        status = re.search(r"# exits with (\d)$", line)
        found.append((line, int(status[1]) if status else 0))
    return found


@pytest.mark.skipif(shutil.which("git") is None, reason="the walk types git commands")
async def test_the_walk_runs_word_for_word(
    nats_url: str, fleet: str, coordinator: Coordinator, client: Client, tmp_path: Path
) -> None:
    commands = lines()
    assert len(commands) >= 12
    home = tmp_path / "fleetbus"
    home.mkdir()
    shutil.copytree(ROOT / "examples", home / "examples")
    # The walk is for the fleet "dev"; this one has a name of its own.
    (home / "examples/config-repo/fleets/dev.yaml").rename(
        home / f"examples/config-repo/fleets/{fleet}.yaml"
    )
    environment = {
        **os.environ,
        "FLEETBUS_URL": nats_url,
        "FLEETBUS_FLEET": fleet,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }
    agents = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetbus", "agent", "run", "examples/configured.py:writers"),
        cwd=home,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:

        async def joined() -> bool:
            return len(await client.agents()) == 3

        await eventually(joined, timeout=20)
        cwd = home
        for command, status in commands:
            if command.startswith("cp "):
                cwd = home.parent / "fleet-config"
            here = home if command.startswith("cp ") else cwd
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", command),
                cwd=here,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            async with asyncio.timeout(30):
                output, _ = await process.communicate()
            assert process.returncode == status, f"{command}: {output.decode()}"
    finally:
        agents.terminate()
        await agents.wait()
