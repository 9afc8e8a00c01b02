"""Runs a server on a configuration file, as a unit would."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bus.leash import leashed
from bus.server_probe import find_binary
from bus.testing import eventually

NATS: Final = Path(__file__).parents[2] / "deploy" / "nats"

# Quoted twice, as the files tell people to: the server parses the value.
SECRETS: Final[Mapping[str, str]] = {"SYS_PASSWORD": '"1g"', "FLEET_PASSWORD": '"a$b c"'}


def turn_on(text: str) -> str:
    """``text`` with the settings that are marked as off."""
    return re.sub(r"^( *)#: ", r"\1", text, flags=re.MULTILINE)


async def check(config: Path, environ: Mapping[str, str]) -> tuple[int | None, str]:
    """Exit code and output of ``nats-server -t``."""
    process = await asyncio.create_subprocess_exec(
        str(find_binary()),
        "-t",
        "-c",
        str(config),
        env={"PATH": os.environ["PATH"], **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@asynccontextmanager
async def running(config: Path, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """The server of ``config``, from when it is ready."""
    log_path = config.with_suffix(".log")
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *leashed([str(find_binary()), "-c", str(config)]),
            env={"PATH": os.environ["PATH"], **environ},
            stdout=log,
            stderr=log,
        )
    try:
        await eventually(lambda: is_ready(process, log_path.read_text()), timeout=10)
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def is_ready(process: asyncio.subprocess.Process, log: str) -> bool:
    if process.returncode is not None:
        raise RuntimeError(f"the server ended with exit code {process.returncode}:\n{log}")
    return "Server is ready" in log
