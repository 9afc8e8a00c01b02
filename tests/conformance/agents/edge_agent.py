"""The agent of docs/conformance.md, made with edge; it runs on MicroPython too."""

import asyncio

from edge import Agent, Retry


class ConformanceError(Exception):
    """What ``fail`` and ``slow`` fail with."""


agent = Agent(labels={"kind": "conformance"}, slots=2, queue=4, grace=2.0)


@agent.capability("echo", params={"value": object})
async def echo(task, value):
    return value


@agent.capability("sleep", params={"seconds": float})
async def sleep(task, seconds):
    await asyncio.sleep(seconds)
    return seconds


@agent.capability("fail", params={"message": str})
async def fail(task, message):
    raise ConformanceError(message)


@agent.capability("retry", params={"times": int})
async def retry(task, times):
    if task.attempt <= times:
        raise Retry("once more")
    return task.attempt


@agent.capability("steps", params={"count": int})
async def steps(task, count):
    for step in range(1, count + 1):
        task.progress(step, fraction=step / count)
    return count


@agent.capability("limit", params={})
async def limit(task):
    return agent.config.get("limit")


@agent.on_config("limit")
def check(new, old):
    if new is not None and (isinstance(new, bool) or not isinstance(new, (int, float))):
        raise ValueError(f"limit {new} is not a number")


@agent.capability("usage", params={"tokens": int})
async def usage(task, tokens):
    task.usage(tokens=tokens)
    return tokens


@agent.capability("octets", params={"size": int})
async def octets(task, size):
    return bytes(size)


@agent.command("greet", params={"name": str})
async def greet(name):
    return "hello " + name


@agent.command("slow", params={"seconds": float})
async def slow(seconds):
    if seconds < 0:
        raise ConformanceError("nobody can wait for less than nothing")
    await asyncio.sleep(seconds)
    return seconds


if __name__ == "__main__":
    agent.run()
