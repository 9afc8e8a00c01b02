"""Regular expressions that cannot hang a run.

Python's ``re`` cannot be interrupted from another thread, and one of ``(a+)+$`` on the wrong text
takes longer than anybody lives. So another process searches, and is killed if it takes too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from bus.errors import FleetError
from bus.leash import leashed

Match = Literal["found", "not found", "too long", "too slow"]

PATIENCE: Final = 2.0
"""Seconds for one search."""

START: Final = 20.0
"""Seconds for the process to start, on a machine that is busy."""

MAX_TEXT: Final = 100_000
"""Characters of an answer that is searched."""

SCRIPT: Final = str(Path(__file__).with_name("regex_process.py"))


class RegexError(FleetError):
    """The process that searches cannot be run."""


class Searcher:
    """Searches while it is entered. Starts its process when it is first needed."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._slow: set[str] = set()
        """Patterns that took too long once: every answer would cost as much again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def search(self, pattern: str, text: str) -> Match:
        """Whether ``pattern`` is found in ``text``.

        Raises:
            RegexError: the process cannot be started, or ends by itself.
        """
        if len(text) > MAX_TEXT:
            return "too long"
        async with self._turn:
            if pattern in self._slow:
                return "too slow"
            try:
                process = self._process or await self._start()
                question = json.dumps([pattern, text]) + "\n"
                async with asyncio.timeout(self._patience):
                    answer = await _ask(process, question.encode())
            except TimeoutError:
                self._slow.add(pattern)
                await self._end()
                return "too slow"
            except BaseException:
                # An answer that is still to come would be taken for that to the next question.
                await self._end()
                raise
            return "found" if answer == b"1" else "not found"

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *leashed([sys.executable, "-I", "-S", SCRIPT]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is for us; we end it.
            start_new_session=True,
        )
        self._process = process
        try:
            async with asyncio.timeout(START):
                await _ask(process, b"")
        except TimeoutError:
            raise RegexError(f"{SCRIPT} did not start within {START:g} s") from None
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()


async def _ask(process: asyncio.subprocess.Process, question: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise RegexError(f"{SCRIPT} was started without pipes")
    process.stdin.write(question)
    try:
        await process.stdin.drain()
        answer = await process.stdout.readline()
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    if not answer:
        raise RegexError(f"{SCRIPT} ended by itself: run the cases again")
    return answer.strip()
