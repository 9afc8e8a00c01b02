"""The agent of docs/conformance.md, made with agent_runtime."""

import asyncio
import os
from typing import Any, TypedDict

from agent_runtime import Agent, Retry, Task


class Config(TypedDict, total=False):
    """``limit`` must be a number; other values are as they like."""

    limit: float


class ConformanceError(Exception):
    """What ``fail`` and ``slow`` fail with."""


agent = Agent(
    os.environ["FLEETBUS_AGENT"],
    site=os.environ["FLEETBUS_SITE"],
    labels={"kind": "conformance"},
    slots=2,
    grace=2.0,
    config=Config,
)


@agent.capability()
async def echo(value: Any) -> Any:
    return value


@agent.capability()
async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@agent.capability()
async def fail(message: str) -> None:
    raise ConformanceError(message)


@agent.capability()
async def retry(task: Task, times: int) -> int:
    if task.attempt <= times:
        raise Retry("once more")
    return task.attempt


@agent.capability()
async def steps(task: Task, count: int) -> int:
    for step in range(1, count + 1):
        task.progress(step, fraction=step / count)
    return count


@agent.capability()
async def limit() -> float | None:
    return agent.config.get("limit")


@agent.capability()
async def usage(task: Task, tokens: int) -> int:
    task.usage(tokens=tokens)
    return tokens


@agent.capability()
async def octets(size: int) -> bytes:
    return bytes(size)


@agent.command("greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@agent.command("slow")
async def slow(seconds: float) -> float:
    if seconds < 0:
        raise ConformanceError("nobody can wait for less than nothing")
    await asyncio.sleep(seconds)
    return seconds


if __name__ == "__main__":
    agent.run()
