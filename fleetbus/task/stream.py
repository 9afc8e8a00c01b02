"""Many tasks from the lines of standard input."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bus.backoff import retry_delay
from bus.errors import QueueFull, TaskTimeout
from fleetbus import console
from fleetbus.exits import Exit
from fleetbus.task import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bus import Client, TaskHandle
    from bus.client import TaskOptions

OUTSTANDING: Final = 512
"""Tasks on their way at a time: enough to keep a fleet busy, and bounded in memory."""

CHUNK: Final = 1 << 16


class Stream:
    """Submits each line of standard input as a task, and prints the results as they come."""

    def __init__(
        self,
        capability: str,
        options: TaskOptions,
        wait: bool,
        timeout: float | None,
        as_json: bool,
    ) -> None:
        self._capability = capability
        self._options = options
        self._wait = wait
        self._timeout = timeout
        self._as_json = as_json
        self._counts: Counter[str] = Counter()
        self._rng = Random()
        self._said_full = False

    async def run(self, client: Client) -> Exit:
        """Work through standard input; returns the exit status."""
        begun = time.monotonic()
        room = asyncio.Semaphore(OUTSTANDING)

        async def one(number: int, value: Any) -> None:
            try:
                await self._one(client, number, value)
            finally:
                room.release()
                tick()

        with _bar() as tick:
            async with asyncio.TaskGroup() as group:
                number = 0
                async for text in lines():
                    number += 1
                    if not text.strip():
                        continue
                    try:
                        value = msgspec.json.decode(text)
                    except msgspec.DecodeError as problem:
                        self._counts["invalid"] += 1
                        console.say(f"line {number}: not JSON: {problem}", "error", "31")
                        continue
                    await room.acquire()
                    group.create_task(one(number, value))
        counted = ", ".join(f"{count} {state}" for state, count in sorted(self._counts.items()))
        took = console.duration(time.monotonic() - begun)
        console.hint(f"{counted or 'no tasks'} in {took}")
        good = self._counts["completed" if self._wait else "submitted"]
        return Exit.OK if good == sum(self._counts.values()) else Exit.FAILED

    async def _one(self, client: Client, number: int, value: Any) -> None:
        handle = await self._submit(client, value)
        if not self._wait:
            self._counts["submitted"] += 1
            if self._as_json:
                console.print_json({"line": number, "task": handle.id})
            else:
                print(handle.id, flush=True)
            return
        try:
            result = await handle.outcome(self._timeout)
        except TaskTimeout as problem:
            self._counts["not done yet"] += 1
            console.say(f"line {number}: {problem}", "error", "31")
            return
        self._counts[result.state] += 1
        if self._as_json:
            console.print_json(show.summary(result, line=number))
        else:
            print(show.line(result), flush=True)

    async def _submit(self, client: Client, value: Any) -> TaskHandle:
        """Submit, however long the queue is full: the one who fills it must wait."""
        tries = 0
        while True:
            try:
                return await client.submit(self._capability, value, **self._options)
            except QueueFull:
                if tries == 0:
                    self._full()
                await asyncio.sleep(retry_delay(tries + 1, 0.05, 2.0, self._rng))
                tries += 1

    def _full(self) -> None:
        if not self._said_full:
            self._said_full = True
            console.hint("the task queue is full: waiting for room")


async def lines() -> AsyncIterator[bytes]:
    """The lines of standard input, as they come, without blocking the event loop."""
    kept = b""
    async for chunk in _chunks(sys.stdin.fileno()):
        *whole, kept = (kept + chunk).split(b"\n")
        for line in whole:
            yield line
    if kept:
        yield kept


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)):
        # The event loop cannot wait for a file, which never blocks for long either.
        while chunk := await asyncio.to_thread(os.read, descriptor, CHUNK):
            yield chunk
        return
    # Not a thread here: one that waits for a terminal could not be ended by Ctrl-C.
    reader = asyncio.StreamReader(limit=CHUNK)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(descriptor), "rb")
    )
    try:
        while chunk := await reader.read(CHUNK):
            yield chunk
    finally:
        transport.close()


@contextmanager
def _bar() -> Iterator[Callable[[], None]]:
    """A bar on stderr where that is a terminal. What is yielded is called once a task."""
    err = console.stderr()
    # A terminal that also shows the results would draw the two into each other.
    if not err.is_terminal or sys.stdout.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.completed:,} tasks"),
        BarColumn(),
        TextColumn("{task.speed:,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda: progress.advance(task)
