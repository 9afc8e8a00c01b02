"""A process of a fault test: ``python -m tests.support.worker agent|coordinator NAME``.

Where the bus is comes from ``FLEETBUS_URL`` and its like, as in production. An agent also
takes its slots and the file in which it notes each start of a handler.
"""

import asyncio
import logging
import os
import signal
import sys
import time

from tests.support import runs


def agent(name: str, slots: str, log: str) -> None:
    """Run an agent until a signal."""
    from agent_runtime import Agent, Retry, Task
    from agent_runtime.runner import run

    declared = Agent(name, slots=int(slots), grace=float(os.environ.get("WORKER_GRACE", "5")))

    def note(task: Task, key: str) -> None:
        runs.note(log, name, task.id, task.attempt, key)

    @declared.capability("nap")
    async def nap(task: Task, key: str, seconds: float = 0.5) -> str:
        note(task, key)
        await asyncio.sleep(seconds)
        return f"{key} by {name}"

    @declared.capability("block")
    def block(task: Task, key: str, seconds: float = 0.5) -> str:
        note(task, key)
        time.sleep(seconds)
        return f"{key} by {name}"

    @declared.capability("flaky")
    async def flaky(task: Task, key: str, succeed_on: int) -> str:
        note(task, key)
        if task.attempt < succeed_on:
            raise Retry("not yet", after=0.01)
        return f"{key} by {name}"

    @declared.capability("killer")
    async def killer(task: Task, key: str) -> None:
        note(task, key)
        os.kill(os.getpid(), signal.SIGKILL)

    run([declared])


def coordinate(name: str) -> None:
    """Run a coordinator until a signal."""
    import uvloop

    from coordinator.runner import serve

    uvloop.run(serve(name=name))


def main(role: str, name: str, *rest: str) -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if role == "agent":
        agent(name, *rest)
    else:
        coordinate(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
