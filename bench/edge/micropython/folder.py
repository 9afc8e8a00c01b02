"""The folder of a device with one agent, as ``fleetbus edge bundle`` makes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from bench.harness.servers import FLEET
from fleetbus.edge.bundle import Bundle, Order, make

AGENT: Final = """
import asyncio
import gc
from edge import Agent

agent = Agent()


@agent.capability("work", params={"seconds": float})
async def work(task, seconds):
    task.progress("begun")
    await asyncio.sleep(seconds)
    gc.collect()
    return gc.mem_alloc()
"""
"""It says how much heap is in use while it runs."""


def bundled(place: Path, url: str, compiled: bool, everything: bool = False) -> Bundle:
    """Make it below ``place``, which need not exist. The variable ``FLEETBUS_AGENT`` names the
    agent.

    Args:
        compiled: as .mpy files.
        everything: with all parts of edge, needed or not.

    Raises:
        BundleError: it cannot be made; for want of mpy-cross, for example.
    """
    place.mkdir(parents=True)
    agent = place / "worker.py"
    agent.write_text(AGENT)
    return make(
        Order(
            str(agent),
            place / "device",
            settings={"url": url, "fleet": FLEET},
            everything=everything,
            compile="always" if compiled else "never",
        )
    )


def for_firmware(folder: Path, place: Path) -> Path:
    """A copy of a device's folder at ``place`` without edge, which the firmware has."""
    return Path(shutil.copytree(folder, place, ignore=shutil.ignore_patterns("edge")))
