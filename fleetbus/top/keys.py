"""Keys of a terminal, one by one, and the terminal as it was afterwards."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pressed(key: str) -> Iterator[asyncio.Event]:
    """An event that is set when ``key`` is pressed; never, where stdin is no terminal."""
    event = asyncio.Event()
    if not sys.stdin.isatty():
        yield event
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def on_input() -> None:
        data = os.read(descriptor, 64)
        if not data:
            loop.remove_reader(descriptor)
        if not data or key.encode() in data.lower():
            event.set()

    before = termios.tcgetattr(descriptor)
    try:
        # Keys come without Return and are not shown; Ctrl-C is still a signal.
        tty.setcbreak(descriptor)
        loop.add_reader(descriptor, on_input)
        yield event
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
