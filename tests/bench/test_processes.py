"""Child processes of a benchmark."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from bench.harness.errors import ChildFailed
from bench.harness.processes import cpu, rss, running, spawn
from bus.testing import eventually

ECHO = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    print(line.strip().upper(), flush=True)
"""

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"


async def test_a_child_says_that_it_is_ready_and_answers() -> None:
    child = await spawn("-c", ECHO, stdin=True)
    try:
        assert child.took > 0
        assert child.rss() > 1
        assert child.cpu() >= 0
        for word in ("one", "two"):
            await child.tell(word)
            assert await child.line() == word.upper()
        with pytest.raises(ChildFailed, match=r"said nothing for 0.05 s"):
            await child.line(timeout=0.05)
    finally:
        await child.stop()
    for _ in range(2):
        with pytest.raises(ChildFailed, match=r"ended with"):
            await child.line()
    with pytest.raises(ChildFailed, match=r"has ended"):
        await child.tell("three")


async def test_one_that_ends_is_told() -> None:
    with pytest.raises(ChildFailed, match=r"'python -c .*' ended with 3 before it was ready"):
        await spawn("-c", "import sys; print('not yet'); sys.exit(3)")


async def test_one_that_hangs_is_killed() -> None:
    with pytest.raises(ChildFailed, match=r"was not ready after 0.3 s"):
        await spawn("-c", "import time; time.sleep(60)", timeout=0.3)


async def test_all_are_stopped_when_one_does_not_start() -> None:
    with pytest.raises(ChildFailed):
        async with running(("-c", SLEEP), ("-c", "")):
            pass
    async with running(("-c", SLEEP), ("-c", SLEEP)) as children:
        assert len(children) == 2
    assert all(child.process.returncode is not None for child in children)
    with pytest.raises(ProcessLookupError):
        rss(children[0].pid)
    with pytest.raises(ProcessLookupError):
        cpu(children[0].pid)


async def test_it_is_told_what_it_needs() -> None:
    code = "import os; print('ready', os.environ['OF_MINE'], flush=True)"
    child = await spawn("-c", code, environment={"OF_MINE": "x y"}, python=sys.executable)
    await child.stop()
    assert child.said == "ready x y"


async def test_one_that_ends_half_way_is_told() -> None:
    async def deadly() -> None:
        async with running(("-c", SLEEP), ("-c", SLEEP)) as children:
            os.kill(children[1].pid, signal.SIGKILL)
            await eventually(lambda: children[1].process.returncode is not None)

    with pytest.raises(ChildFailed, match=r"ended with -9 half-way"):
        await deadly()
    async with running(("-c", SLEEP)) as children:
        await children[0].kill()  # on purpose
    with pytest.raises(ChildFailed, match=r"'python -c .*' has ended"):
        children[0].rss()
