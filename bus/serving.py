"""What every lasting process of the fleet does: wait for its server, and end on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Final, TypeVar

from bus.backoff import full_jitter

T = TypeVar("T")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

FORCED: Final = 130
"""Exit status after a second signal."""

FIRST: Final = 0.2
"""Seconds, at most, before the second try to reach a server."""

LONGEST: Final = 5.0
"""Seconds, at most, between two tries."""


@contextlib.contextmanager
def until_signal(log: logging.Logger) -> Iterator[asyncio.Event]:
    """An event that the first SIGTERM or SIGINT sets; a second ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            log.warning("second signal: ending at once")
            sys.stderr.flush()
            # Not sys.exit: that would still wait for threads, which may run handlers.
            os._exit(FORCED)
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def entered(
    make: Callable[[], AbstractAsyncContextManager[T]],
    stop: asyncio.Event,
    absent: tuple[type[Exception], ...],
    on_absent: Callable[[Exception], None],
) -> T | None:
    """Enter what ``make`` makes, again and again until there is a server; None if ``stop`` is
    set before. Who called leaves it.

    Args:
        make: a new one for each try.
        stop: ends the tries.
        absent: errors that mean that there is no server yet, or no fleet.
        on_absent: is told of the first of these.

    Raises:
        Exception: any other error of entering.
    """
    rng = Random()
    tries = 0
    while not stop.is_set():
        try:
            return await make().__aenter__()
        except absent as problem:
            if tries == 0:
                on_absent(problem)
            delay = full_jitter(tries, FIRST, LONGEST, rng)
            tries += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await stop.wait()
    return None
