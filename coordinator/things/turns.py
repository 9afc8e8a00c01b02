"""Many coroutines, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any, Final

AT_ONCE: Final = 32


async def in_turns(work: Iterable[Coroutine[Any, Any, None]], limit: int = AT_ONCE) -> None:
    """Run all, ``limit`` at a time.

    Raises:
        Exception: what one of them raised, when all have run; an ``ExceptionGroup`` of several.
    """
    problems: list[Exception] = []
    rest = iter(work)
    while some := list(islice(rest, limit)):
        for outcome in await asyncio.gather(*some, return_exceptions=True):
            if isinstance(outcome, Exception):
                problems.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ExceptionGroup(f"{len(problems)} of them failed", problems)
