"""What an idle edge agent holds, over the interpreter that it runs in."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.edge import interpreters
from bench.harness.figures import at_most
from bench.harness.processes import anonymous, rss, spawn
from bench.harness.scenario import Scenario
from bench.harness.servers import server
from bench.harness.session import Session

AGENT, ASYNCIO, BARE = "edge agent", "Python with asyncio", "bare Python"
KINDS: Final = (AGENT, ASYNCIO, BARE)
ROOM: Final = 3.0
"""MB that the agent may hold beyond Python and asyncio."""


async def run(session: Session) -> None:
    """Each kind of process once a round."""
    with tempfile.TemporaryDirectory() as directory:
        async with server() as made:
            seen: dict[str, list[float]] = {kind: [] for kind in KINDS}
            for kind in session.interleaved(KINDS):
                found = await _weigh(kind, made.url, Path(directory), session)
                seen[kind].append(found)
                session.record("resident memory", found, "MB", side=kind, better="lower")
    for ours, floor, bare in zip(*(seen[kind] for kind in KINDS), strict=True):
        session.record(
            "over Python with asyncio", ours - floor, "MB", better="lower", target=at_most(ROOM)
        )
        session.record("over bare Python", ours - bare, "MB", better="lower")
        session.record("asyncio alone", floor - bare, "MB", side=ASYNCIO)
    session.note(
        "All are processes of this run, looked at after two idle seconds. An agent that could do "
        "without asyncio would hold bare Python and what the agent holds over asyncio."
    )


async def _weigh(kind: str, url: str, folder: Path, session: Session) -> float:
    commands = {ASYNCIO: interpreters.ASYNCIO, BARE: interpreters.BARE}
    command = commands.get(kind) or interpreters.agent(folder, f"idle-{time.time_ns()}")
    child = await spawn(*command, environment=interpreters.environment(url))
    try:
        await asyncio.sleep(session.plan.seconds(2.0, 0.1))  # on purpose: this is what is measured
        session.record("own memory", anonymous(child.pid), "MB", side=kind, better="lower")
        return rss(child.pid)
    finally:
        await child.stop()


SCENARIO: Final = Scenario(
    name="edge-idle",
    summary="Resident memory of an idle edge agent on CPython, beside a Python that has imported "
    "asyncio and one that has not.",
    run=run,
    seconds=25,
    quick_seconds=3,
)
