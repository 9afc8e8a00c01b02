"""What is seen while a benchmark runs: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from fleetbus import console

if TYPE_CHECKING:
    from rich.progress import Progress as Display
    from rich.progress import TaskID

    from bench.harness.progress import Progress

EVERY: Final = 15.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def progress() -> Iterator[Progress]:
    """Shows on stderr where the run stands."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Display

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[scenario]}", style="bold"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[left]}", style="cyan"),
        TextColumn("{task.description}", style="dim"),
    )
    # Twice a second: what draws shares a processor with what is measured.
    with Display(
        *columns, console=console.stderr(), transient=True, refresh_per_second=2
    ) as display:
        bar = Bar(display, display.add_task("", scenario="", left=""))
        ticking = asyncio.create_task(bar.tick())
        try:
            yield bar
        finally:
            ticking.cancel()


class Bar:
    """One line that says what runs and how long the rest takes."""

    def __init__(self, display: Display, task: TaskID) -> None:
        self._display = display
        self._task = task
        self._begun = time.monotonic()
        self._end = self._begun

    def scenario(self, name: str, number: int, total: int) -> None:
        """The name in front."""
        self._display.update(self._task, scenario=f"{number}/{total} {name}")

    def step(self, text: str, left: float) -> None:
        """What runs, and when all will be done."""
        self._end = time.monotonic() + left
        self._display.update(self._task, description=text)
        self._draw()

    async def tick(self) -> None:
        """Count down, until it is cancelled."""
        while True:
            self._draw()
            await asyncio.sleep(1)

    def _draw(self) -> None:
        now = time.monotonic()
        left = max(1.0, self._end - now)
        self._display.update(
            self._task,
            completed=now - self._begun,
            total=now - self._begun + left,
            left=f"about {console.duration(round(left))} left",
        )


class Lines:
    """A line for each scenario, and not too many between."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def scenario(self, name: str, number: int, total: int) -> None:
        """Always a line."""
        console.say(f"{number}/{total} {name}")
        self._last = time.monotonic()

    def step(self, text: str, left: float) -> None:
        """A line if the last one is some time ago."""
        if time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            console.say(f"  {text}; about {console.duration(round(left))} left")
