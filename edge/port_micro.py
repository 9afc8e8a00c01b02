"""The platform below the agent: MicroPython. See ``port_cpython`` for the other."""

import asyncio
import gc
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Type checkers know CPython's modules only.
_time: "Any" = time
_os: "Any" = os
_gc: "Any" = gc
_sys: "Any" = sys

_epoch = 946_684_800 if _time.gmtime(0)[0] == 2000 else 0
"""Seconds: most boards count from the year 2000."""
_ticks = [_time.ticks_ms(), 0]
"""The counter as it was seen last, which turns over, and the milliseconds until then."""
_least = [20]
"""The lowest level that is written."""
_peak = [0]
stops: "list[Callable[[], None]]" = []
"""Call these to end the agent as SIGTERM does elsewhere: from a button, or where there are signals
after all."""


RUNTIME = "micropython/" + ".".join([str(one) for one in sys.implementation.version[:3]])


def host() -> str:
    """What the board calls itself."""
    return str(getattr(_sys.implementation, "_machine", sys.platform))[:80]


def pid() -> int:
    """There are no processes."""
    return 0


def ticks() -> float:
    """Milliseconds that only go forward."""
    now: int = _time.ticks_ms()
    _ticks[1] += _time.ticks_diff(now, _ticks[0])
    _ticks[0] = now
    return int(_ticks[1])


def unix_ms() -> int:
    """The device's clock, in Unix milliseconds; it may not have been set."""
    return (int(_time.time()) + _epoch) * 1000


def random_bytes(count: int) -> bytes:
    """So many random bytes."""
    if hasattr(_os, "urandom"):
        found: bytes = _os.urandom(count)
        return found
    import random

    return bytes([random.getrandbits(8) for _ in range(count)])


def log(level: int, text: str) -> None:
    """Write ``text`` for people."""
    if level >= _least[0]:
        print({10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR"}[level], text)


def say(text: str) -> None:
    """Write a line to the standard output."""
    print(text)


def unload(module: str) -> None:
    """Let go of the code of ``edge.<module>``, which is loaded again when it is needed."""
    package = _sys.modules["edge"]
    if _sys.modules.pop("edge." + module, None) is not None and hasattr(package, module):
        delattr(package, module)


def set_level(level: int, logger: str) -> None:
    """Write nothing below ``level`` from now on. There is one logger only."""
    _least[0] = level


def trace(problem: BaseException) -> str:
    """Where ``problem`` comes from, for the log."""
    import io

    file = io.StringIO()
    _sys.print_exception(problem, file)
    return file.getvalue()


def getenv(name: str) -> str:
    """A variable of the environment; empty if there is none, as on a bare board."""
    return (hasattr(_os, "getenv") and _os.getenv(name)) or ""


def usage() -> "dict[str, Any]":
    """What heartbeats tell of the heap: bytes in use, free, and most in use so far."""
    _gc.collect()
    used = _gc.mem_alloc()
    _peak[0] = max(_peak[0], used)
    return {"heap": used, "heap_free": _gc.mem_free(), "heap_peak": _peak[0]}


async def connect(host: str, port: int, tls: "Any") -> "Any":
    """Open a connection, with TLS from the first byte if ``tls`` is given.

    Raises:
        OSError: it cannot be opened.
    """
    if tls is None:
        return await asyncio.open_connection(host, port)
    return await asyncio.open_connection(host, port, ssl=tls, server_hostname=host)


async def secure(streams: "Any", tls: "Any", host: str) -> "Any":
    """A stream that has begun without TLS cannot go on with it here."""
    raise OSError("TLS after a plain beginning is not possible here: set tls_first")


async def within(work: "Any", seconds: float) -> "Any":
    """What ``work`` returns.

    Raises:
        asyncio.TimeoutError: it took longer.
    """
    return await asyncio.wait_for(work, seconds)


async def hang_up(streams: "Any") -> None:
    """Close a connection at once; what has not been sent is lost."""
    try:
        streams[1].close()
        await streams[1].wait_closed()
    except OSError:
        pass  # it was closed by the other side


async def call(
    function: "Callable[..., Any]",
    args: "tuple[Any, ...]",
    kwargs: "dict[str, Any]",
    runs: "list[Any]",
) -> "Any":
    """What ``function`` returns. A plain one keeps everything else waiting: there are no
    threads."""
    value = function(*args, **kwargs)
    return await value if hasattr(value, "send") else value


def at_home(do: "Callable[[], None]") -> None:
    """Call ``do`` on the event loop: there is nothing else."""
    do()


async def ended(runs: "list[Any]") -> None:
    """Return when what was called has ended: it has."""


def main(serve: "Callable[[Callable[[Callable[[], None]], None]], Any]") -> None:
    """Run ``serve`` until it returns, and end with what it returns."""
    sys.exit(asyncio.run(serve(stops.append)))
