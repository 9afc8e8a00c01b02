"""The README's tour, command by command, on a fleet that its first command started."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tour() -> list[list[str]]:
    """The fleetbus commands between the tour's marks, as argument lists."""
    part = README.split("<!-- tour -->")[1].split("<!-- /tour -->")[0]
    lines = re.findall(r"^\$ (fleetbus .*)$", part, re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


async def test_the_tour_runs_word_for_word() -> None:
    commands = tour()
    assert len(commands) >= 8
    up = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetbus", "up", "--port", "0"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert up.stdout is not None
    try:
        async with asyncio.timeout(30):
            ready = (await up.stdout.readline()).decode()
        url = re.search(r"nats://[0-9.:]+", ready)
        assert url is not None, ready
        environment = {**os.environ, "FLEETBUS_URL": url[0]}
        for command in commands:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fleetbus", *command),
                cwd=ROOT,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(30):
                output, errors = await process.communicate()
            said = f"fleetbus {shlex.join(command)}: {output.decode()}{errors.decode()}"
            assert process.returncode == 0, said
            assert output, said
    finally:
        up.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            await up.wait()


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing
