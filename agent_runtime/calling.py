"""Calls a function of the user's, plain or async, for a bounded time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
from collections.abc import Callable, Hashable
from typing import Any, Final

from agent_runtime.hints import function_of
from agent_runtime.outcome import contained
from agent_runtime.returns import Kind, kind_of

PATIENCE: Final = 1.0
"""Seconds that one which was interrupted is given to end."""

Running = concurrent.futures.Future[Any] | asyncio.Future[Any]

_left: Final[dict[Hashable, list[Running]]] = {}
"""Calls that nobody waits for any more, and that may still run."""


class TookTooLongError(Exception):
    """The function did not return in time. A plain one goes on in its thread."""


class StillRunningError(TookTooLongError):
    """It was not called: it has not returned from the call before, which took too long."""


def check(function: Callable[..., Any], key: Hashable = None) -> None:
    """See that ``function`` has returned from the call before, if that took too long.

    Raises:
        StillRunningError: it has not.
    """
    name = id(function) if key is None else key
    if all(one.done() for one in _left.get(name, ())):
        _left.pop(name, None)
        return
    raise StillRunningError("it was not called: its previous call has not returned yet")


async def bounded(
    function: Callable[..., Any], *arguments: Any, seconds: float, key: Hashable = None
) -> Any:
    """What ``function`` returns. A plain one is called in a thread.

    A thread cannot be ended, so that of a call that hangs is lost; a function is not called
    again while one is. ``key`` stands for what may hang, if that is not the function as such.

    Raises:
        TookTooLongError: it did not return within ``seconds``, or was not called.
        Exception: what it raised.
    """
    check(function, key)
    threads: list[concurrent.futures.Future[Any]] = []
    work = asyncio.ensure_future(_call(function, arguments, threads))
    # If it is interrupted, whatever it raises after all is of no interest, and not to be logged.
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait((work,), timeout=seconds)
        if work.done():
            if work.cancelled():
                raise RuntimeError("it was cancelled")
            return work.result()
        work.cancel()
        await asyncio.wait((work,), timeout=PATIENCE)
    except asyncio.CancelledError:
        work.cancel()
        raise
    finally:
        running: list[Running] = [work, *threads]
        if left := [one for one in running if not one.done()]:
            # What runs holds the function, so that no other can get its id meanwhile.
            _left[id(function) if key is None else key] = left
    raise TookTooLongError(f"it did not return within {seconds:g} s")


async def _call(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    threads: list[concurrent.futures.Future[Any]],
) -> Any:
    if kind_of(function_of(function)) is Kind.ASYNC:
        return await function(*arguments)
    thread = _in_thread(lambda: function(*arguments))
    threads.append(thread)
    value = await asyncio.wrap_future(thread)
    # A lambda around an async function, for example.
    return await value if inspect.isawaitable(value) else value


def _in_thread(work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """Call ``work`` in a thread of its own: what hangs must neither use up a pool that others
    need, as name resolution needs the loop's, nor keep the process from ending."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()  # it cannot be cancelled: done means ended
    context = contextvars.copy_context()

    def run() -> None:
        try:
            value = context.run(contained, work)
        except BaseException as problem:  # whatever it is, somebody waits for it
            future.set_exception(problem)
        else:
            future.set_result(value)

    threading.Thread(target=run, name="configuration", daemon=True).start()
    return future
