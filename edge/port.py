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
        callable_with,
        connect,
        ended,
        getenv,
        hang_up,
        host,
        lock,
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
    "RAISED",
    "RUNTIME",
    "WARNING",
    "at_home",
    "call",
    "callable_with",
    "connect",
    "ended",
    "getenv",
    "hang_up",
    "host",
    "lock",
    "log",
    "main",
    "pid",
    "random_bytes",
    "said",
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

RAISED = (Exception, SystemExit) if MICRO else (Exception, SystemExit, KeyboardInterrupt)
"""What a function of the user's may raise without ending the agent. A Ctrl-C is a signal where
there are signals; where there are none it is this exception, and must get through."""


def said(problem: BaseException) -> str:
    """What ``problem`` says of itself, even if asking it raises something."""
    try:
        return str(problem) or repr(problem)
    except RAISED:
        return type(problem).__name__


def uniform(low: float, high: float) -> float:
    """A random number from ``low`` up to ``high``."""
    return low + (high - low) * int.from_bytes(random_bytes(3), "big") / 16_777_216
