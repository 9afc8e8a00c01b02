"""A process full of devices: ``python -m bench.edge.process URL FLEET FIRST COUNT FOLDER PLAN``.

It obeys lines on its standard input and answers with one line of JSON each:

``boot SECONDS``  begin to start them, spread over so long
``report``        a ``Report``
``calm``          end the accidents; a ``Report``
``hush``          take no more readings; a ``Report``
``stop``          stop all devices in order; an ``Ended``
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench.edge.device import Device
from bench.edge.here import settle_in
from bench.edge.plan import Plan
from bench.edge.tally import Ended, Report, Tally
from bench.harness.processes import rss

MOST: Final = 12
"""Problems that are told."""
TICK: Final = 0.1
ENDING: Final = 5.0
"""Seconds that what was cancelled has to end."""

LEAVING: Final = 100
"""Devices that are stopped at a time."""


class Crowd:
    """All devices of this process."""

    def __init__(
        self, url: str, fleet: str, first: int, count: int, folder: Path, plan: Plan
    ) -> None:
        self.bare = rss(os.getpid())
        numbers = range(first, first + count)
        self.devices = [Device(number, url, fleet, plan, folder) for number in numbers]
        self.late = 0.0
        self._lives: dict[Device, asyncio.Task[None]] = {}
        self._booting: asyncio.Task[None] | None = None
        self._ticking = asyncio.create_task(self._tick())

    def boot(self, seconds: float) -> None:
        """Begin to start them."""
        self._booting = asyncio.create_task(self._boot(seconds))

    def report(self) -> Report:
        """How they stand."""
        tally = Tally()
        problems: Counter[str] = Counter()
        for device in self.devices:
            if device.alive:
                tally.add(device.count())
            problems.update(device.problems)
        late, self.late = self.late, 0.0
        return Report(tally, rss(os.getpid()), self.bare, late, dict(problems.most_common(MOST)))

    def calm(self) -> None:
        """End the accidents."""
        for device in self.devices:
            device.calm()

    def hush(self) -> None:
        """Take no more readings."""
        for device in self.devices:
            device.hush()

    async def stop(self) -> Ended:
        """Stop all devices in order."""
        report = self.report()
        gate = asyncio.Semaphore(LEAVING)

        async def leave(device: Device, life: asyncio.Task[None]) -> None:
            async with gate:
                device.stop()
                await life

        await asyncio.gather(*(leave(*one) for one in self._lives.items()))
        self.close()
        ours = asyncio.current_task()
        others = [one for one in asyncio.all_tasks() if one is not ours]
        # What was cancelled is given time to end: on a busy machine that takes some.
        left = (await asyncio.wait(others, timeout=ENDING))[1] if others else ()
        leaked = [str(one.get_coro()) for one in left]
        runs = Counter(task for device in self.devices for task, _ in device.runs)
        same: Counter[str] = Counter()
        for device in self.devices:
            for (task, _), times in Counter(device.runs).items():
                if times > 1:
                    same[task] += times - 1
        # Readings that were taken after the report above are among those that are stored.
        report.tally.taken = sum(device.tally.taken for device in self.devices)
        return Ended(
            report,
            {device.name: device.tally.taken for device in self.devices},
            {task: times for task, times in runs.items() if times > 1},
            dict(same),
            leaked[:20],
        )

    def close(self) -> None:
        """Let go of what is not a device."""
        self._ticking.cancel()
        if self._booting is not None:
            self._booting.cancel()
        for life in self._lives.values():
            life.cancel()

    async def _boot(self, seconds: float) -> None:
        for device in self.devices:
            self._lives[device] = asyncio.create_task(device.live())
            await asyncio.sleep(seconds / len(self.devices))

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self.late = max(self.late, loop.time() - due)


async def main(url: str, fleet: str, first: int, count: int, folder: str, plan: str) -> None:
    """Obey until the standard input ends."""
    logging.disable(logging.CRITICAL)
    settle_in()
    crowd = Crowd(url, fleet, first, count, Path(folder), msgspec.json.decode(plan, type=Plan))
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    try:
        while line := (await reader.readline()).decode().strip():
            verb, _, argument = line.partition(" ")
            answer: Report | Ended
            match verb:
                case "boot":
                    crowd.boot(float(argument))
                    answer = crowd.report()
                case "calm":
                    crowd.calm()
                    answer = crowd.report()
                case "hush":
                    crowd.hush()
                    answer = crowd.report()
                case "stop":
                    answer = await crowd.stop()
                case _:
                    answer = crowd.report()
            print(msgspec.json.encode(answer).decode(), flush=True)
    finally:
        crowd.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:7]))
