"""Processes to weigh an edge agent against: what Python itself costs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.harness.servers import FLEET

AGENT: Final = """
from edge import Agent

agent = Agent({name!r})


@agent.capability("echo", params={{"text": str}})
async def echo(task, text):
    return text
"""
"""A file for ``python -m edge FILE``."""

BARE: Final = ("-c", "import time; print('ready', flush=True); time.sleep(3600)")
"""What ``spawn`` starts an interpreter with that has imported next to nothing."""

ASYNCIO: Final = ("-c", "import asyncio, time; print('ready', flush=True); time.sleep(3600)")
"""The same, with asyncio imported."""


def agent(folder: Path, name: str) -> tuple[str, ...]:
    """What ``spawn`` starts an edge agent with; see ``environment``."""
    file = folder / f"{name.replace('-', '_')}.py"
    file.write_text(AGENT.format(name=name))
    return ("-m", "edge", str(file))


def environment(url: str) -> dict[str, str]:
    """Of an edge agent."""
    return {"FLEETBUS_URL": url, "FLEETBUS_FLEET": FLEET}
