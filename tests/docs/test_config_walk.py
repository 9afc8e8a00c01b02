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


def steps() -> list[tuple[str, int, list[str]]]:
    """Each command of the walk, the status that it is said to end with, and what it is said to
    print."""
    part = WALK.read_text(encoding="utf-8").split("<!-- walk -->")[1].split("<!-- /walk -->")[0]
    found: list[tuple[str, int, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", part, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                status = re.search(r"# exits with (\d)$", line)
                found.append((line[2:], int(status[1]) if status else 0, []))
            else:
                found[-1][2].append(line)
    return found


def plain(line: str) -> str:
    """A line without what is another at each run: ids, times, people, the width of columns."""
    line = re.sub(r"\b[0-9a-f]{7,40}\b", "<id>", line)
    line = re.sub(r"\b(\d+m \d+s|[\d.]+ (ms|s|µs))", "<time>", line)
    line = re.sub(r"\b[\w.-]+@[\w.-]+", "<person>", line)
    line = re.sub(r"─+", "─", line)
    return " ".join(line.split())


def says(output: str, wanted: list[str]) -> bool:
    """True if the lines that are ``wanted`` are there, in this order; ``…`` stands for anything."""
    rest = iter(plain(line) for line in output.splitlines())
    return all(
        any(re.fullmatch(re.escape(plain(want)).replace("…", ".*"), have) for have in rest)
        for want in wanted
        if plain(want) != "…"
    )


@pytest.mark.skipif(shutil.which("git") is None, reason="the walk types git commands")
async def test_the_walk_runs_word_for_word(
    nats_url: str, fleet: str, coordinator: Coordinator, client: Client, tmp_path: Path
) -> None:
    commands = steps()
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
        for command, status, wanted in commands:
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
            text = output.decode()
            assert process.returncode == status, f"{command}: {text}"
            assert says(text.replace(fleet, "dev"), wanted), f"{command}: {text}"
    finally:
        agents.terminate()
        await agents.wait()


def test_what_the_readme_prints_is_what_the_walk_prints() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    part = text.split("## Configure the fleet")[1].split("\n## ")[0]
    (block,) = re.findall(r"```console\n(.*?)```", part, re.DOTALL)
    shown = [plain(line) for line in block.splitlines() if not line.startswith("$ ")]
    walked = {plain(line) for _, _, wanted in steps() for line in wanted}
    assert len(shown) > 5
    assert [line for line in shown if line not in walked] == []
