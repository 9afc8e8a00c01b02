"""Puts the demo together: a folder of text, a fleet of processes, one run, a report."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bus import Client
from bus.errors import FleetError
from bus.settings import PREFIX
from fleetbus.console import size
from fleetbus.demo import ledger
from fleetbus.demo.display import Display
from fleetbus.demo.findings import Findings
from fleetbus.demo.fleet import NAME, DemoFleet, Member
from fleetbus.demo.play import Play
from fleetbus.demo.report import Facts, Report, summarise
from fleetbus.demo.scene import Scene
from fleetbus.demo.work import Library, jobs, planned

VICTIM: Final = "doomed"
AGENTS: Final = (
    Member("fast-1", pause=0.01),
    Member("fast-2", pause=0.01),
    Member("slow", slots=2, pause=0.1),
    Member(VICTIM, pause=0.01),
)
"""All pause on each task, as agents do that wait for a disk or a model. Without it this work is
done so fast that the victim often holds nothing by the time that the signal reaches it."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def perform(
    directory: Path | None, tasks: int | None, outstanding: int, display: Display
) -> Report | None:
    """Run the demo; None if a signal ended it. Either way nothing of it is left then.

    Args:
        directory: the text to work on; None is what ships with Python and this project.
        tasks: how many; None is what fits the text.
        outstanding: tasks under way at a time.
        display: who watches.

    Raises:
        FleetError: there is no text, or the fleet could not be started or broke.
    """
    with interruptible() as interrupted:
        try:
            with scratch() as place, own_settings(place):
                return await _perform(place, directory, tasks, outstanding, display)
        except (asyncio.CancelledError, FleetError, ExceptionGroup):
            # What breaks while everything is being ended is no news.
            if not interrupted.is_set():
                raise
            return None


@contextmanager
def interruptible() -> Iterator[asyncio.Event]:
    """Cancel the current task at the first signal, and ignore further ones: a second Ctrl-C
    must not keep the first from cleaning up, which takes a few seconds at most."""
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    interrupted = asyncio.Event()

    def on_signal() -> None:
        if not interrupted.is_set() and me is not None:
            interrupted.set()
            me.cancel()

    # What nohup or a shell's "&" told us to ignore stays ignored.
    heeded = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    for number in heeded:
        loop.add_signal_handler(number, on_signal)
    try:
        yield interrupted
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for this run, removed at its end."""
    place = Path(tempfile.mkdtemp(prefix="fleetbus-demo-"))
    try:
        yield place
    finally:
        shutil.rmtree(place)


@contextmanager
def own_settings(place: Path) -> Iterator[None]:
    """Keep the user's settings away from the demo and its processes: they are meant for another
    server, and credentials for that one would be refused by ours."""
    before = {name: text for name, text in os.environ.items() if name.startswith(PREFIX)}
    empty = place / "fleetbus.toml"
    empty.touch()
    for name in before:
        del os.environ[name]
    os.environ[f"{PREFIX}CONFIG"] = str(empty)
    try:
        yield
    finally:
        del os.environ[f"{PREFIX}CONFIG"]
        os.environ.update(before)


async def _perform(
    place: Path, directory: Path | None, tasks: int | None, outstanding: int, display: Display
) -> Report:
    library = await asyncio.to_thread(Library.read, directory)
    total = planned(library, tasks)
    display.say(
        f"{library.where}: {len(library.files)} files of text, {size(library.bytes)}; {total} tasks"
    )
    scene = Scene(((one.name, one.slots) for one in AGENTS), total)
    findings = Findings()
    display.say("starting a server, two coordinators and four agents")
    async with (
        DemoFleet(place, AGENTS) as fleet,
        Client.connect(fleet.url, NAME, name="demo") as client,
    ):
        pids = ", ".join(f"{name} {pid}" for name, pid in fleet.pids.items())
        display.say(f"all are there (process ids: {pids})")
        play = Play(fleet, client, scene, display, findings.take, VICTIM)
        with display:
            await play.run(jobs(library, total), outstanding)
        statuses = await play.statuses()
        facts = Facts(
            directory=library.where,
            files=len(library.files),
            bytes=library.bytes,
            stored=await play.stored(),
            duplicates_refused=sum(int(one["refused_results"]) for one in statuses.values()),
            starts=await asyncio.to_thread(ledger.read, fleet.ledgers),
            killed_at=play.killed_at,
        )
    return summarise(scene, facts, findings.all())
