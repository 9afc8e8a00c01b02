"""An agent with three capabilities and a command of its own.

fleetbus agent run examples/summarizer.py:agent
"""

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec

from agent_runtime import Agent, Retry, Task

agent = Agent("summarizer", site="berlin", labels={"tier": "cpu"}, slots=4)


class Summary(msgspec.Struct):
    text: str
    words: int


@agent.capability("summarize", version="1.2.0")
async def summarize(task: Task, text: str, max_words: int = 50) -> Summary:
    """Keep the first sentences, up to max_words words."""
    if not text.strip():
        raise ValueError("there is nothing to summarize")
    kept: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        words = sentence.split()
        if kept and len(kept) + len(words) > max_words:
            break
        kept += words
    task.usage(words=len(text.split()))
    return Summary(" ".join(kept[:max_words]), min(len(kept), max_words))


@agent.capability("count")
async def count(to: int, pause: float = 0.1) -> AsyncIterator[int]:
    """Count: each number is progress, the last one is the result."""
    for number in range(1, to + 1):
        yield number
        await asyncio.sleep(pause)


@agent.capability("fetch", timeout=10)
def fetch(task: Task, path: str) -> bytes:
    """Read a file that may not be there yet. A plain function: it runs in a thread."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise Retry(f"{path} is not there yet", after=1.0) from None


@agent.command("slots")
async def slots() -> int:
    """How many tasks this agent runs at a time."""
    return agent.slots
