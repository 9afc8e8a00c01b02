"""What is told of a failure of the user's code: nothing that a reference to a secret stands for."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

from bus.wire.task import ErrorInfo

Clean = Callable[[object], str]
"""From what is to be said to that without secrets."""


def error_of(problem: BaseException, clean: Clean) -> ErrorInfo:
    """The error that a task ends with."""
    return ErrorInfo(clean(str(problem) or repr(problem)), type(problem).__name__)


def warn(
    log: logging.Logger, text: str, *values: Any, problem: BaseException, clean: Clean
) -> None:
    """Log ``text`` with where ``problem`` comes from."""
    trace = "".join(traceback.format_exception(problem))
    if clean(trace) == trace:
        log.warning(text, *values, exc_info=problem)
    else:
        # As ``exc_info`` it would be written as it is.
        log.warning(f"{text}\n%s", *values, clean(trace))
