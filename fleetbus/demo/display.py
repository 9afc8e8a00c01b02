"""How the demo is watched: live on a terminal, as plain lines elsewhere, not at all for JSON."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from fleetbus.console import clean, duration, stdout, table
from fleetbus.demo.scene import Scene

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

REFRESH: Final = 0.125
"""Seconds between two looks at the scene."""
PLAIN_EVERY: Final = 2.0
"""Seconds between two lines of progress where there is no terminal."""
BAR: Final = 30
"""Characters of the bar that stands for all results."""


class Display(Protocol):
    """Entered while there is something to watch."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, text: str) -> None:
        """Something happened: one line, with the time."""

    def show(self, scene: Scene) -> None:
        """The scene as it is now. Called every ``REFRESH`` seconds."""


def display(quiet: bool) -> Display:
    """The one that fits stdout, or none."""
    if quiet:
        return Silence()
    console = stdout()
    return LiveView(console) if console.is_terminal else Lines(console)


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""

    def show(self, scene: Scene) -> None:
        """Do nothing."""


class Lines(Silence):
    """For pipes and logs: a line for each event, and one of progress now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def say(self, text: str) -> None:
        """Print the line."""
        # Not the console's print: it would end the process where nobody reads any more.
        print(f"{clock()}  {clean(text)}", file=self._console.file, flush=True)

    def show(self, scene: Scene) -> None:
        """Print progress and shares, at most every ``PLAIN_EVERY`` seconds."""
        now = time.monotonic()
        if now < self._next or not scene.done:
            return
        self._next = now + PLAIN_EVERY
        shares = ", ".join(
            f"{row.agent} {share(row.results, scene)}" for row in scene.rows.values()
        )
        self.say(f"{scene.done} of {scene.total} done, {scene.rate(now):.0f}/s: {shares}")


class LiveView(Silence):
    """For a terminal: progress and a table of agents that stay below the lines of events."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.live import Live

        # Refreshed by us: a thread of its own would race with the scene.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print the line above the live part."""
        self._console.print(f"{clock()}  {clean(text)}")

    def show(self, scene: Scene) -> None:
        """Draw the live part anew."""
        if self._live is not None:
            self._live.update(draw(scene, time.monotonic()), refresh=True)


def draw(scene: Scene, now: float) -> RenderableType:
    """The live part."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.progress_bar import ProgressBar

    rate = scene.rate(now)
    open_ = scene.total - scene.done
    left = f", {duration(open_ / rate)} left" if rate and open_ else ""
    bar = ProgressBar(total=max(1, scene.total), completed=scene.done, width=40)
    head = Columns([bar, f"{scene.done} of {scene.total} tasks, {rate:.0f}/s{left}"])
    agents = table("agent", "state", ">running", ">queued", ">results", ">share", "")
    styles = {"killed": "bold red", "lost": "red", "joining": "dim"}
    for row in scene.rows.values():
        filled = round(BAR * row.results / scene.done) if scene.done else 0
        agents.add_row(
            row.agent,
            row.state,
            f"{row.running}/{row.slots}",
            str(row.queued),
            str(row.results),
            share(row.results, scene),
            "█" * filled,
            style=styles.get(row.state),
        )
    return Group("", head, "", agents)


def share(results: int, scene: Scene) -> str:
    """Results of one agent as a share of all."""
    return f"{100 * results / scene.done:.0f} %" if scene.done else "-"


def clock() -> str:
    """The time of day, in milliseconds."""
    now = time.time()
    return time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03}"
