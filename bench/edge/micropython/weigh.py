"""How much heap an agent on MicroPython uses, with nothing to do and while it runs a task."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.edge.micropython.node import HOST
from bench.edge.micropython.unix import Unix
from bench.harness.errors import BenchError
from bench.harness.processes import Child, rss, spawn
from bus import Client
from bus.client.handle import TaskHandle
from bus.client.watch import Watch
from bus.wire.heartbeat import Heartbeat

LONG: Final = 0.5
"""Seconds of the task that is looked at while it runs."""
LOOKS: Final = 3
"""The least counts: JavaScript lets go of what it still holds of the last task when it likes."""
PAUSE: Final = 0.1
TIMEOUT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Weighed:
    """Bytes in use after a collection."""

    idle: int
    """Once it has done a task: what is loaded for the first is there."""
    busy: int
    resident: float = 0.0
    """MB of the whole process; 0 where that says nothing."""


async def on_unix(port: Unix, folder: Path, client: Client, name: str) -> Weighed:
    """Run a device's folder on the unix port and look at what the agent itself says.

    Raises:
        ChildFailed: it did not start.
        BenchError: no heartbeat says that the task is done.
    """
    async with Watch(client.bus, f"hb.*.{name}") as watch:
        arguments, named = port.arguments(folder), {"FLEETBUS_AGENT": name}
        child = await spawn(*arguments, python=port.path, environment=named)
        try:
            await (await _work(client, name, 0.0)).result(TIMEOUT)
            idle = await _idle(watch)
            resident = rss(child.pid)
            busy = await (await _work(client, name, 0.0)).result(TIMEOUT, int)
        finally:
            await child.stop()
    return Weighed(idle, busy, resident)


async def on_node(node: str, folder: Path, client: Client, name: str) -> Weighed:
    """The same in Node.js, where there is no collection while a handler runs: host.mjs says.

    Raises:
        ChildFailed: it did not start, or ended.
    """
    named = {"FLEETBUS_AGENT": name}
    child = await spawn(str(HOST), str(folder), python=node, environment=named)
    try:
        await (await _work(client, name, 0.0)).result(TIMEOUT)
        looks = []
        for _ in range(LOOKS):
            looks.append(await _heap(child))
            await asyncio.sleep(PAUSE)
        running = await _work(client, name, LONG)
        async for _ in running.progress():
            break
        busy = await _heap(child)
        await running.result(TIMEOUT)
    finally:
        await child.stop()
    return Weighed(min(looks), busy)


async def _work(client: Client, name: str, seconds: float) -> TaskHandle:
    return await client.submit("work", {"seconds": seconds}, select=f"agent={name}")


async def _idle(watch: Watch) -> int:
    """What the first heartbeat says after the task."""
    async with asyncio.timeout(TIMEOUT):
        async for seen in watch:
            beat = seen.value
            if isinstance(beat, Heartbeat) and beat.done and not beat.running:
                return beat.heap
    raise BenchError("the watch of heartbeats ended")


async def _heap(child: Child) -> int:
    child.process.send_signal(signal.SIGUSR2)
    while True:
        line = await child.line(TIMEOUT)
        if line.startswith("heap "):
            return int(line.split()[1])
