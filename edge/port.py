"""What differs between CPython and MicroPython: the right one of two modules alike."""

import sys

MICRO = sys.implementation.name == "micropython"

if MICRO:
    from edge.port_micro import (
        RUNTIME,
        at_home,
        call,
        connect,
        ended,
        getenv,
        hang_up,
        host,
        log,
        main,
        pid,
        random_bytes,
        say,
        secure,
        set_level,
        ticks,
        trace,
        unix_ms,
        unload,
        usage,
        within,
    )
else:
    from edge.port_cpython import (
        RUNTIME,
        at_home,
        call,
        connect,
        ended,
        getenv,
        hang_up,
        host,
        log,
        main,
        pid,
        random_bytes,
        say,
        secure,
        set_level,
        ticks,
        trace,
        unix_ms,
        unload,
        usage,
        within,
    )

__all__ = [
    "DEBUG",
    "ERROR",
    "INFO",
    "LEVELS",
    "MICRO",
    "RUNTIME",
    "WARNING",
    "at_home",
    "call",
    "connect",
    "ended",
    "getenv",
    "hang_up",
    "host",
    "log",
    "main",
    "pid",
    "random_bytes",
    "say",
    "secure",
    "set_level",
    "ticks",
    "trace",
    "uniform",
    "unix_ms",
    "unload",
    "usage",
    "within",
]

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}


def uniform(low: float, high: float) -> float:
    """A random number from ``low`` up to ``high``."""
    return low + (high - low) * int.from_bytes(random_bytes(3), "big") / 16_777_216
