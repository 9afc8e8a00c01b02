"""How a command's coroutine is run, and how what goes wrong in it ends the process."""

from __future__ import annotations

import asyncio
import os
import sys
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
            return runner.run(work)
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


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
