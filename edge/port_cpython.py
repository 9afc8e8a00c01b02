"""The platform below the agent: CPython. See ``port_micro`` for the other."""

import asyncio
import fcntl
import inspect
import logging
import os
import resource
import signal
import ssl
import sys
import threading
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_logger = logging.getLogger("fleetbus.edge")
_home: "list[Any]" = []
"""The event loop and its thread."""
_page = os.sysconf("SC_PAGE_SIZE")
_used = [0.0, 0.0, 0.0]
"""When the use of the processor was looked up last, the seconds used until then, and the share."""


RUNTIME = "python/" + ".".join([str(one) for one in sys.version_info[:3]])


def host() -> str:
    """Name of this machine."""
    return os.uname().nodename


def pid() -> int:
    """Of this process."""
    return os.getpid()


def ticks() -> float:
    """Milliseconds that only go forward."""
    return time.monotonic_ns() / 1_000_000


def unix_ms() -> int:
    """This machine's clock, in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def random_bytes(count: int) -> bytes:
    """So many random bytes."""
    return os.urandom(count)


def log(level: int, text: str) -> None:
    """Write ``text`` for people."""
    # Half a character could be written nowhere.
    _logger.log(level, "%s", text.encode("utf-8", "replace").decode())


def say(text: str) -> None:
    """Write a line to the standard output, at once."""
    print(text, flush=True)


def lock(folder: str) -> "Callable[[], None] | None":
    """Have a folder to ourselves until the function that is returned is called, or this process
    ends; None if another has it. Where the file system knows no locks, nobody is kept out.

    Raises:
        OSError: there is no such folder, or it may not be read.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError as problem:
        log(logging.WARNING, f"{folder}: it cannot be locked: {problem}")
    return lambda: os.close(handle)


def unload(module: str) -> None:
    """Let go of code that is not needed for long: memory is no matter here."""


def set_level(level: int, logger: str) -> None:
    """Write nothing below ``level`` from now on."""
    logging.getLogger(logger).setLevel(level)


def trace(problem: BaseException) -> str:
    """Where ``problem`` comes from, for the log."""
    return "".join(traceback.format_exception(problem))


def getenv(name: str) -> str:
    """A variable of the environment; empty if there is none."""
    return os.environ.get(name, "")


def usage() -> "dict[str, Any]":
    """What heartbeats tell of the process: share of a core, and resident bytes."""
    now, used = time.monotonic(), time.process_time()
    if now - _used[0] >= 1.0:
        share = round((used - _used[1]) / (now - _used[0]), 3) if _used[0] else 0.0
        _used[:] = [now, used, share]
    try:
        with open("/proc/self/statm", "rb") as file:
            rss = int(file.read().split()[1]) * _page
    except OSError:
        # Not Linux: what it had at its largest is the nearest that is known.
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"cpu": _used[2], "rss": rss}


async def connect(host: str, port: int, tls: "ssl.SSLContext | None") -> "Streams":
    """Open a connection, with TLS from the first byte if ``tls`` is given.

    Raises:
        OSError: it cannot be opened.
    """
    return await asyncio.open_connection(host, port, ssl=tls)


async def secure(streams: "Streams", tls: "ssl.SSLContext", host: str) -> "Streams":
    """Go on with TLS, now that the server has said that it wants it.

    Raises:
        OSError: the server cannot be trusted, or has gone.
    """
    await streams[1].start_tls(tls, server_hostname=host)
    return streams


async def within(work: "Awaitable[Any]", seconds: float) -> "Any":
    """What ``work`` returns. Not ``asyncio.wait_for``, which in Python 3.11 swallows a
    cancellation that comes together with the result.

    Raises:
        asyncio.TimeoutError: it took longer.
    """
    async with asyncio.timeout(seconds):
        return await work


async def hang_up(streams: "Streams") -> None:
    """Close a connection at once; what has not been sent is lost."""
    streams[1].transport.abort()


async def call(
    function: "Callable[..., Any]",
    args: "tuple[Any, ...]",
    kwargs: "dict[str, Any]",
    runs: "list[Any]",
) -> "Any":
    """What ``function`` returns. A plain one runs in a thread of its own, which cannot be
    interrupted: it is put into ``runs``, for ``ended``."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **kwargs)
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    over = asyncio.Event()

    def finish(value: "Any", problem: "BaseException | None") -> None:
        over.set()
        if done.cancelled():
            return
        if isinstance(problem, StopIteration):
            # A future cannot hold it.
            problem = RuntimeError("a plain function raised StopIteration")
        if problem is None:
            done.set_result(value)
        else:
            done.set_exception(problem)

    def run() -> None:
        value, problem = None, None
        try:
            value = function(*args, **kwargs)
        except BaseException as error:  # whatever it is, somebody waits for it
            problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, value, problem)

    _home[:] = [loop, threading.get_ident()]
    runs.append(over)
    # A daemon: one that hangs does not keep the process from ending.
    threading.Thread(target=run, name="edge", daemon=True).start()
    value = await done
    return await value if inspect.isawaitable(value) else value


def callable_with(
    what: str, function: "Callable[..., Any]", given: "tuple[str, ...]", params: "Any"
) -> None:
    """Refuse a function that could never be called with what it will be ``given``, and with
    ``params`` by name.

    Raises:
        ValueError: naming ``what``, and what the function must take.
    """
    names = list(params or ())
    try:
        inspect.signature(function).bind(*given, **dict.fromkeys(names))
    except ValueError:
        return  # one that is written in C may not say what it takes
    except TypeError as problem:
        taken = ", ".join(list(given) + [f"{name}=" for name in names]) or "nothing"
        rule = "; with params={} a handler is given the task alone" if "input" in given else ""
        raise ValueError(
            f"{what}: its function will be called with ({taken}), and that fails: {problem}{rule}"
        ) from None


def at_home(do: "Callable[[], None]") -> None:
    """Call ``do`` on the event loop, from a plain function's thread or from there."""
    if _home and threading.get_ident() != _home[1]:
        _home[0].call_soon_threadsafe(do)
    else:
        do()


async def ended(runs: "list[Any]") -> None:
    """Return when the threads of ``runs`` have ended."""
    for over in runs:
        await over.wait()


def main(
    serve: "Callable[[Callable[[Callable[[], None]], None]], Coroutine[Any, Any, int]]",
) -> None:
    """Run ``serve`` until it returns, and end with what it returns. It is given a function that
    takes what to call on SIGTERM and SIGINT; a second signal ends the process at once."""

    def on_signal(stop: "Callable[[], None]") -> None:
        asked: list[int] = []

        def handle() -> None:
            if asked:
                sys.stderr.flush()
                os._exit(130)
            asked.append(1)
            stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, handle)

    sys.exit(asyncio.run(serve(on_signal)))
