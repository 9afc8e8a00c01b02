"""Waiting for many results at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from bus.client.handle import TaskHandle
from bus.wire.result import Result


async def outcomes(handles: Iterable[TaskHandle], timeout: float) -> list[Result]:
    """How each task ended; all of them within ``timeout`` seconds.

    Raises:
        AssertionError: naming how many have no result.
    """
    all_ = list(handles)
    ended = await asyncio.gather(
        *(handle.outcome(timeout) for handle in all_), return_exceptions=True
    )
    problems = [one for one in ended if isinstance(one, BaseException)]
    if problems:
        text = f"{len(problems)} of {len(all_)} tasks have no result after {timeout:g} s"
        raise AssertionError(f"{text}, for example: {problems[0]!r}") from problems[0]
    return [one for one in ended if isinstance(one, Result)]
