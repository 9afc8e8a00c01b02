"""A client that submits tasks at a constant rate for as long as it is let, in constant memory.

``python -m bench.sides.steady URL RATE BIG_EVERY`` begins at once. A line on its standard input
ends it: it waits for what is under way and answers with a ``Tally``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

import msgspec

from bench.harness.faults import hushed
from bench.harness.latency import Latencies
from bench.harness.servers import FLEET
from bus import Client

PAYLOAD: Final = b"x" * 128
BIG: Final = b"x" * (2 * 1024 * 1024)
"""More than fits into a message: it goes by way of the object store, both ways."""
PATIENCE: Final = 60.0
"""Seconds until a task without a result is lost."""


class Tally(msgspec.Struct):
    """What became of the tasks."""

    accepted: int = 0
    completed: int = 0
    refused: int = 0
    """Not accepted: submitting raised."""
    big: int = 0
    """Of those completed, with a big payload."""
    problem: str = ""
    """The first that there was."""
    late: float = 0.0
    """Seconds by which a submission began too late, at worst."""
    latencies: str = ""
    """From the intended start, as ``Latencies.encode`` writes them; without the big ones."""


def command(url: str, rate: float, big_every: float) -> tuple[str, ...]:
    """What ``spawn`` starts it with."""
    return ("-m", "bench.sides.steady", url, str(rate), str(big_every))


class Steady:
    """The load."""

    def __init__(self, client: Client, rate: float, big_every: float) -> None:
        self.tally = Tally()
        self.latencies = Latencies()
        self._client = client
        self._rate = rate
        self._big = max(1, round(rate * big_every))
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``, and until all has ended."""
        begun, number = time.perf_counter(), 0
        while not stop.is_set():
            intended = begun + number / self._rate
            wait = intended - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self.tally.late = max(self.tally.late, time.perf_counter() - intended)
            number += 1
            payload = BIG if number % self._big == 0 else PAYLOAD
            task = asyncio.create_task(self._one(payload, intended))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if self._running:
            await asyncio.wait(self._running)

    async def _one(self, payload: bytes, intended: float) -> None:
        tally = self.tally
        try:
            handle = await self._client.submit("echo", payload)
        except Exception as problem:  # a finding, and the load goes on
            tally.refused += 1
            tally.problem = tally.problem or repr(problem)
            return
        tally.accepted += 1
        try:
            if await handle.result(PATIENCE) != payload:
                raise ValueError(f"task {handle.id} has another's result")
        except Exception as problem:  # as above: it counts as lost
            tally.problem = tally.problem or repr(problem)
            return
        tally.completed += 1
        if payload is BIG:
            tally.big += 1
        else:
            self.latencies.record(time.perf_counter() - intended)


async def main(url: str, rate: float, big_every: float) -> None:
    """Load until told otherwise."""
    stop = asyncio.Event()

    async def listen() -> None:
        await asyncio.to_thread(sys.stdin.readline)
        stop.set()

    async with Client.connect(url, FLEET) as client:
        steady = Steady(client, rate, big_every)
        listening = asyncio.create_task(listen())
        print("ready", flush=True)
        await steady.run(stop)
        await listening
    steady.tally.latencies = steady.latencies.encode()
    print(msgspec.json.encode(steady.tally).decode(), flush=True)


if __name__ == "__main__":
    import uvloop

    with hushed():
        uvloop.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
