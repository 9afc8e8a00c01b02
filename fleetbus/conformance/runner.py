"""Runs checks: scenes side by side, the checks of each in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from fleetbus.conformance import contract
from fleetbus.conformance.catalogue import CHECKS
from fleetbus.conformance.check import (
    Check,
    Failed,
    NotStarted,
    Scene,
    Skipped,
    Unfit,
    shortened,
)
from fleetbus.conformance.outcome import Outcome, outcome
from fleetbus.conformance.stage import Stage

SIDE_BY_SIDE: Final = 8
"""Scenes, each with a process of the agent."""

LIMIT: Final = 8
"""So many times the timeout a whole check may take."""

LAST: Final = 300
"""Characters of what an agent printed that a failure quotes."""

OnLine = Callable[[str, str], None]


class Runner:
    """One run of the suite against one agent command."""

    def __init__(
        self,
        url: str,
        command: Sequence[str],
        timeout: float,
        on_outcome: Callable[[Outcome], None],
        on_line: OnLine | None = None,
    ) -> None:
        """``on_outcome`` is told of each check when it ends, ``on_line`` of the scene and each
        line that its agent prints; ``command[0]`` is a path."""
        self._url = url
        self._command = list(command)
        self._timeout = timeout
        self._on_outcome = on_outcome
        self._on_line = on_line
        self._turns = asyncio.Semaphore(SIDE_BY_SIDE)
        self._whole = False
        """All checks there are."""
        self._joined = False
        """Some agent process has joined: the command is not wrong as a whole."""

    async def run(self, checks: Sequence[Check]) -> list[Outcome]:
        """Run ``checks``; their outcomes in the same order.

        Raises:
            NotStarted: no process of the agent has joined.
            Unfit: it offers nothing that all checks together could be run with.
            FleetError: the server cannot be used.
        """
        self._whole = len(checks) == len(CHECKS)
        scenes: dict[str, list[Check]] = {}
        for check in checks:
            scenes.setdefault(check.scene.name, []).append(check)
        # The longest begin first.
        ordered = sorted(scenes.values(), key=len, reverse=True)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._scene(some)) for some in ordered]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        found = {one.check: one for task in tasks for one in task.result()}
        return [found[check.id] for check in checks]

    async def _scene(self, checks: list[Check]) -> list[Outcome]:
        async with self._turns:
            found: list[Outcome] = []
            while len(found) < len(checks):
                found += await self._on_one_stage(checks[len(found) :])
            return found

    async def _on_one_stage(self, checks: list[Check]) -> list[Outcome]:
        """Run checks until one leaves the stage as it must not be for the next."""
        found: list[Outcome] = []
        async with AsyncExitStack() as stack:
            stage = await stack.enter_async_context(self._stage(checks[0].scene))
            try:
                await stage.start()
            except NotStarted as problem:
                if not self._joined:
                    raise
                failed = _not_started(problem)
                return [self._told(checks[0], failed, time.monotonic())]
            if self._whole and not self._joined:
                await _meet(stage)
            self._joined = True
            for check in checks:
                one = await self._check(check, stage)
                found.append(one)
                if one.outcome == "fail" or not await stage.tidy():
                    break
        return found

    def _stage(self, scene: Scene) -> Stage:
        on_line = self._on_line
        told = None if on_line is None else lambda line: on_line(scene.name, line)
        return Stage(scene, self._url, self._command, self._timeout, told)

    async def _check(self, check: Check, stage: Stage) -> Outcome:
        begun = time.monotonic()
        problem: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout * LIMIT):
                await check.body(stage)
        except (Failed, Skipped) as end:
            problem = end
        except NotStarted as end:
            problem = _not_started(end)
        except TimeoutError:
            problem = Failed(f"an end within {self._timeout * LIMIT:g} s", "none")
        except Exception as strange:  # an agent may send what no check has thought of
            problem = Failed("what the check can read", f"{type(strange).__name__}: {strange}")
        if isinstance(problem, Failed):
            process = stage.process
            if process is not None and process.status is not None:
                got = f"{problem.got}; the process ended with status {process.status}"
                problem = Failed(problem.expected, f"{got}: {process.output[-LAST:]}")
        return self._told(check, problem, begun)

    def _told(self, check: Check, problem: Exception | None, begun: float) -> Outcome:
        seconds = time.monotonic() - begun
        if problem is None:
            one = outcome(check, "pass", seconds)
        elif isinstance(problem, Failed):
            one = outcome(check, "fail", seconds, problem.expected, problem.got)
        else:
            one = outcome(check, "skip", seconds, got=shortened(str(problem)))
        self._on_outcome(one)
        return one


async def _meet(stage: Stage) -> None:
    try:
        offered = {one.name for one in (await stage.card()).capabilities}
    except Failed:
        return  # a check says it, with more of what there was instead
    if offered.isdisjoint(contract.REQUIRED):
        raise Unfit(offered)


def _not_started(problem: NotStarted) -> Failed:
    return Failed("an agent that joins", f"it {problem.why}: {problem.output[-LAST:]}")
