"""How a command's coroutine is run, and how what goes wrong in it ends the process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from fleetbus.console import fail
from fleetbus.exits import Exit, expected

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end and return its value.

    Raises:
        SystemExit: with the status that ``fleetbus.exits`` gives for the error that came out
            of it, which has then been shown in one line. Whatever is no ``FleetError`` and no
            ``TimeoutError`` is a bug and passes through with its traceback.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_interruptible(work))
    except KeyboardInterrupt:
        # The runner has cancelled the coroutine and let it close what it had open.
        raise SystemExit(int(Exit.INTERRUPTED)) from None
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(int(Exit.PIPE)) from None
    except Exception as error:
        shown = expected(error)
        if shown is None:
            raise
        raise fail(shown) from None


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Cancel ``work`` at the first SIGINT between two callbacks of the loop; a second one ends
    them all. The runner's own handler would cancel in the middle of a callback, which then meets
    a future that has just ended.

    Raises:
        KeyboardInterrupt: there was one.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    interrupted = False

    def on_signal() -> None:
        nonlocal interrupted
        if interrupted or task is None:
            raise KeyboardInterrupt
        interrupted = True
        task.cancel()

    # Else it is ignored, as by nohup, or this is not the main thread.
    heeded = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    )
    if heeded:
        loop.add_signal_handler(signal.SIGINT, on_signal)
    try:
        return await work
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
