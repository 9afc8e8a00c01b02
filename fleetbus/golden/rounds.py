"""Runs on the command line: once, or again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bus.client import Client
from bus.errors import FleetError
from bus.selectors import Selector
from bus.wire import Card
from fleetbus import console
from fleetbus.connection import connected
from fleetbus.exits import Exit
from fleetbus.golden import kept, report, show
from fleetbus.golden.cases import InvalidCases
from fleetbus.golden.load import Loaded, Origin, load
from fleetbus.golden.report import Report
from fleetbus.golden.run import Runner, plan
from fleetbus.roster import Roster, Row


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    origin: Origin
    names: tuple[str, ...] = ()
    capability: str | None = None
    select: str = ""
    repeat: int = 1
    outstanding: int = 16
    every: float | None = None
    """Seconds from the beginning of one run to that of the next; None for one run."""
    min_pass: float = 1.0
    as_json: bool = False


class Rounds:
    """Runs once, or again and again."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    async def run(self, url: str | None, fleet: str | None) -> Exit:
        """Returns the exit status; with ``every`` it goes on until it is cancelled, and tells why
        a run could not be made.

        Raises:
            FleetError, TimeoutError: a run cannot be made; with ``every``, the first one.
        """
        wanted = self._wanted
        Selector.parse(wanted.select)
        try:
            # Before there is a connection: nobody is needed to say what is wrong with files.
            loaded = await self._load()
        except InvalidCases as wrong:
            for problem in wrong.problems:
                console.say(problem, "error", "31")
            return Exit.USAGE
        async with connected(url, fleet, "golden") as client:
            begun = time.monotonic()
            made = await self._round(client, loaded)
            while wanted.every is not None:
                await asyncio.sleep(max(0.0, begun + wanted.every - time.monotonic()))
                begun = time.monotonic()
                loaded = await self._load_again(loaded)
                try:
                    made = await self._round(client, loaded)
                except (FleetError, TimeoutError) as problem:
                    console.say(f"this run was not finished: {problem}", "error", "31")
        return Exit.OK if made.ok else Exit.FAILED

    async def _load(self) -> Loaded:
        wanted = self._wanted
        # Git and many files: what else there is to do goes on meanwhile.
        return await asyncio.to_thread(load, wanted.origin, wanted.names, wanted.capability)

    async def _load_again(self, last: Loaded) -> Loaded:
        try:
            return await self._load()
        except FleetError as problem:
            for line in str(problem).splitlines():
                console.say(line, "error", "31")
            which = f" of commit {last.commit[:12]}" if last.commit else ""
            console.say(f"going on with the last good cases{which}")
            return last

    async def _round(self, client: Client, loaded: Loaded) -> Report:
        wanted, begun = self._wanted, time.monotonic()
        async with Roster(client.bus, wanted.select) as roster:
            cards = [row.card for row in roster.rows()]
            questions = plan(loaded.cases, cards)
            with _bar(sum(len(one.cases) for one in questions) * wanted.repeat) as advance:
                runner = Runner(
                    client,
                    lambda agent: roster.row(agent) is not None,
                    repeat=wanted.repeat,
                    outstanding=wanted.outstanding,
                    on_check=advance,
                )
                await runner.run(questions)
            await roster.heard()
            about = {card.agent: _about(card, roster.row(card.agent)) for card in cards}
        frame = report.Frame(
            client.bus.subjects.fleet,
            time.time_ns() // 1_000_000,
            time.monotonic() - begun,
            loaded.source,
            loaded.commit,
            wanted.repeat,
            wanted.min_pass,
            wanted.select,
        )
        made = report.make(frame, loaded.cases, runner.checks, runner.peers(loaded.cases), about)
        if not wanted.as_json:
            if wanted.every is not None:
                console.hint(time.strftime("run of %Y-%m-%d %H:%M:%S"))
            show.show(made)
        elif wanted.every is None:
            console.print_document(made)
        else:
            console.print_json(made)
        # After it was shown: who may not write to the bus has it all the same.
        await kept.publish(client, made)
        return made


def _about(card: Card, row: Row | None) -> report.About:
    load = None if row is None else row.load
    versions = {one.name: one.version for one in card.capabilities}
    return report.About(versions, load.config, load.overrides) if load else report.About(versions)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr where that is a terminal. What is yielded is called once an answer."""
    err = console.stderr()
    if not err.is_terminal or not total:
        yield lambda: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.completed:,.0f} / {task.total:,.0f} answers"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
