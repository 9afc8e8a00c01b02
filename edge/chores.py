"""What is done at its time, and what goes on beside: one loop and some tasks."""

import asyncio

from edge import port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


class Chores:
    """Timers by name, and tasks that are logged when they fail.

    Args:
        feed: called every ``every`` seconds while the loop is alive: a watchdog's.
    """

    def __init__(self, feed: "Callable[[], None] | None" = None, every: float = 1.0) -> None:
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}
        self._wake = asyncio.Event()
        self._tasks: list[list[Any]] = []
        if feed is not None:
            pause = max(int(every * 1000), 1)
            self.at("watchdog", 0, lambda: self._feed(feed, pause))

    def at(self, name: str, delay: float, do: "Callable[[], None]") -> None:
        """Call ``do`` in ``delay`` milliseconds, instead of what was planned under ``name``."""
        self._due[name] = (port.ticks() + int(delay + 0.999), do)
        self._wake.set()

    def sooner(self, name: str, delay: float, do: "Callable[[], None]") -> None:
        """As ``at``, unless something is planned under ``name`` that comes earlier."""
        planned = self._due.get(name)
        if planned is None or planned[0] > port.ticks() + delay:
            self.at(name, delay, do)

    def cancel(self, name: str) -> None:
        """Plan nothing under ``name``."""
        self._due.pop(name, None)

    async def run(self) -> None:
        """Do what is due, for ever."""
        while True:
            self._wake.clear()
            now = port.ticks()
            for name, (at, do) in sorted(self._due.items(), key=lambda one: one[1][0]):
                if at <= now and self._due.get(name) == (at, do):
                    del self._due[name]
                    try:
                        do()
                    except Exception as problem:  # the others are to be done all the same
                        port.log(port.ERROR, name + ": " + port.trace(problem))
            if not self._wake.is_set():
                pause = min([at for at, _ in self._due.values()] or [now + 60_000]) - port.ticks()
                try:
                    await port.within(self._wake.wait(), max(pause, 0) / 1000)
                except asyncio.TimeoutError:
                    pass  # something is due
            else:
                await asyncio.sleep(0)

    def spawn(self, work: "Coroutine[Any, Any, Any]", what: str = "") -> "Any":
        """Let ``work`` go on beside; if it fails, ``what`` says in the log what that was."""

        # The task, and the work for as long as it has not begun.
        entry: list[Any] = [None, work]

        async def guarded() -> None:
            entry[1] = None
            try:
                await work
            except Exception as problem:  # nobody else would ever hear of it
                port.log(port.WARNING, f"{what}: {problem}")
            finally:
                self._tasks.remove(entry)

        entry[0] = asyncio.create_task(guarded())
        self._tasks.append(entry)
        return entry[0]

    def stop(self) -> None:
        """End what still goes on."""
        for entry in list(self._tasks):
            entry[0].cancel()
            if entry[1] is not None:
                # It never comes to its first step, so nobody else would.
                entry[1].close()
                self._tasks.remove(entry)

    def _feed(self, feed: "Callable[[], None]", every: int) -> None:
        # Planned first: one that fails once is to be called again all the same.
        self.at("watchdog", every, lambda: self._feed(feed, every))
        feed()
