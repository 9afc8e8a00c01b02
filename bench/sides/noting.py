"""Agents that note each start of a handler, for scenarios in which agents are killed.

``python -m bench.sides.noting URL NAME SLOTS FILE SITE`` is one. ``bench.harness.notes`` reads
the file.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from bench.harness.faults import hushed
from bench.harness.notes import Notebook
from bench.harness.servers import FLEET
from bus.telemetry import Happening, ResultRefused

ECHO: Final = 0.005


def command(url: str, name: str, slots: int, file: str, site: str = "default") -> tuple[str, ...]:
    """What ``spawn`` starts one with."""
    return ("-m", "bench.sides.noting", url, name, str(slots), file, site)


class Refusals:
    """Notes results that the broker did not take."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    def on_event(self, event: Happening) -> None:
        if isinstance(event, ResultRefused):
            self._notebook.note("refused", event.task)


async def agent(url: str, name: str, slots: int, file: str, site: str) -> None:
    """Offers ``nap``, which sleeps for as long as it is told, and ``echo``, which gives back its
    payload after ``ECHO`` seconds."""
    from agent_runtime import Agent, Task

    notebook = Notebook(file, name)
    declared = Agent(name, site=site, slots=slots)

    @declared.capability("nap")
    async def nap(task: Task, seconds: float) -> str:
        notebook.note("began", task.id)
        await asyncio.sleep(seconds)
        return name

    @declared.capability("echo")
    async def echo(task: Task, data: bytes) -> bytes:
        notebook.note("began", task.id)
        await asyncio.sleep(ECHO)
        return data

    async with declared.connect(url, FLEET, Refusals(notebook)):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    address, own, room, path, place = sys.argv[1:]
    with hushed():
        uvloop.run(agent(address, own, int(room), path, place))
