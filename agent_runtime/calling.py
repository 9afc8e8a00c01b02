"""Calls a function of the user's, plain or async, for a bounded time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

from agent_runtime.hints import function_of
from agent_runtime.outcome import contained
from agent_runtime.returns import Kind, kind_of

PATIENCE: Final = 1.0
"""Seconds that one which was interrupted is given to end."""


class TookTooLongError(Exception):
    """The function did not return in time. A plain one goes on in its thread."""


async def bounded(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """What ``function`` returns. A plain one is called in a thread.

    Raises:
        TookTooLongError: it did not return within ``seconds``.
        Exception: what it raised.
    """
    work = asyncio.ensure_future(_call(function, arguments))
    # If it is interrupted, whatever it raises after all is of no interest, and not to be logged.
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait((work,), timeout=seconds)
    except asyncio.CancelledError:
        work.cancel()
        raise
    if work.done():
        if work.cancelled():
            raise RuntimeError("it was cancelled")
        return work.result()
    work.cancel()
    await asyncio.wait((work,), timeout=PATIENCE)
    raise TookTooLongError(f"it did not return within {seconds:g} s")


async def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if kind_of(function_of(function)) is Kind.ASYNC:
        return await function(*arguments)
    value = await asyncio.to_thread(contained, lambda: function(*arguments))
    # A lambda around an async function, for example.
    return await value if inspect.isawaitable(value) else value
