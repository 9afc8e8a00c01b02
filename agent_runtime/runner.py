"""Runs agents as a process: until a signal or a command ends them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterable
from typing import Any

from agent_runtime.agent import Agent
from bus.errors import ConnectError, TopologyMissing
from bus.serving import entered, until_signal

log = logging.getLogger("fleetbus.agent")


def run(agents: Iterable[Agent], **settings: Any) -> None:
    """Run agents until SIGTERM, SIGINT or a ``stop`` command. Blocks.

    Uses uvloop where it is installed. See ``serve`` for what is raised.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        leave_behind(runner.run(serve(list(agents), **settings)))


def leave_behind(abandoned: int) -> None:
    """End the process at once if handlers would not stop, else do nothing.

    Python would wait for their threads, and asyncio for their tasks, for ever if need be.
    """
    if abandoned:
        log.warning("ending with %d handlers that would not stop", abandoned)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def serve(agents: list[Agent], *, wait: bool = True, **settings: Any) -> int:
    """Run agents, each with a connection of its own, until they have ended.

    Returns how many handlers would not stop.

    The first SIGTERM or SIGINT drains them within their grace; a second ends the process at
    once, and the broker gives their tasks to others.

    Args:
        agents: with different ids.
        wait: keep trying while no server or no fleet is there yet, as a service should.
        **settings: as for ``bus.connect``.

    Raises:
        FleetError: an agent could not start, or was taken over by another process.
    """
    running: list[asyncio.Task[int]] = []
    with until_signal(log) as stop:
        try:
            async with asyncio.TaskGroup() as group:
                for agent in agents:
                    running.append(group.create_task(_one(agent, stop, wait, settings)))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
    return sum(task.result() for task in running)


async def _one(agent: Agent, stop: asyncio.Event, wait: bool, settings: dict[str, Any]) -> int:
    runtime = await entered(
        lambda: agent.connect(**settings),
        stop,
        (ConnectError, TopologyMissing) if wait else (),
        lambda problem: log.warning("agent %s waits: %s", agent.id, problem),
    )
    if runtime is None:
        return 0
    try:
        names = ", ".join(runtime.offers) or "nothing"
        print(f"agent {agent.id} ready: {names}", flush=True)
        await _first(stop, runtime.stopping)
    finally:
        await runtime.__aexit__(None, None, None)
    print(f"agent {agent.id} stopped", flush=True)
    if runtime.failure is not None:
        raise runtime.failure
    return runtime.executor.abandoned


async def _first(*events: asyncio.Event) -> None:
    waiters = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
