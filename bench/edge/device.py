"""One simulated device: the real edge agent, with a life full of accidents."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from bench.edge.disk import Disk
from bench.edge.here import HERE
from bench.edge.link import Link
from bench.edge.plan import CAPABILITIES, Plan
from bench.edge.profiles import hurried, profile
from bench.edge.tally import Tally
from edge import port
from edge.agent import Agent
from edge.runtime import Runtime
from edge.settings import PROFILES

DAY_MS: Final = 86_400_000
SPOOL: Final = 131_072
"""Bytes of a device's spool."""
GRACE: Final = 2.0
"""Seconds that a task is given when the simulation stops its device."""


class Boot:
    """What a device has in memory: gone with the power."""

    def __init__(self, agent: Agent, settings: dict[str, Any]) -> None:
        self.runtime = Runtime(agent, settings)
        self.carried: set[bytes] = set()
        """Readings on their way to the disk or the broker."""
        self.counted = False
        """What it has counted is in the tally of its device."""
        self.task: asyncio.Task[int] | None = None


class Device:
    """Number ``number`` of a run. ``live`` is its life; ``calm`` ends the accidents."""

    boot: Boot

    def __init__(self, number: int, url: str, fleet: str, plan: Plan, folder: Path) -> None:
        self.name = plan.device(number)
        self.draw = Random(f"{plan.seed} {number}")
        self.profile = hurried(profile(plan.profile), plan.hurry)
        self.link = Link(self.profile, self.draw)
        self.disk = Disk()
        self.shift_ms = 0
        """Of its clock over the true one."""
        self.tally = Tally(devices=1)
        self.runs: list[tuple[str, int]] = []
        """Task and boot of each start of a handler."""
        self.problems: Counter[str] = Counter()
        """What it logged, and how often."""
        self.alive = False
        """It has been started."""
        self._plan = plan
        self._url = url
        self._fleet = fleet
        self._folder = folder / self.name
        self._clock = self.draw.random()
        self._skew = int(self.draw.uniform(-1, 1) * DAY_MS)
        self._calm = asyncio.Event()
        self._over = asyncio.Event()
        self._quiet = False
        self._faults: list[asyncio.Task[None]] = []

    @property
    def runtime(self) -> Runtime:
        """Of the boot that is on, or was last."""
        return self.boot.runtime

    @property
    def settled(self) -> bool:
        """Nothing is left to be sent."""
        runtime, boot = self.runtime, self.boot
        return runtime.joined and not (self.spooled or runtime.intake.held or boot.carried)

    @property
    def spooled(self) -> int:
        """Records in the spool."""
        outbox = self.runtime.outbox
        return 0 if outbox is None else outbox.report().get("spooled", 0)

    async def live(self) -> None:
        """Until ``stop``."""
        HERE.set(self)
        self._start()
        self.alive = True
        try:
            for every, accident in (
                (self.profile.reset_every, self._reset),
                (self.profile.partition_every, self._part),
            ):
                if every:
                    self._faults.append(asyncio.create_task(self._now_and_then(every, accident)))
            await self._power()
            await self._over.wait()
            self.runtime.stopping.set()
            if self.boot.task is not None:
                await asyncio.wait((self.boot.task,), timeout=15)
        finally:
            for fault in self._faults:
                fault.cancel()
            self.link.close()
            await self._end()

    def calm(self) -> None:
        """No accident from now on; what is cut is mended."""
        self._calm.set()
        for fault in self._faults:
            fault.cancel()
        self.link.heal()

    def hush(self) -> None:
        """Take no more readings."""
        self._quiet = True

    def stop(self) -> None:
        """End in order, after ``calm``."""
        self.hush()
        self._over.set()

    def heard(self, level: int, text: str) -> None:
        """It logs something."""
        if level >= port.ERROR:
            self.tally.errors += 1
        if level >= port.WARNING:
            # Ids and numbers differ, what went wrong does not.
            said = " ".join(w for w in text.split() if not any(c.isdigit() for c in w))
            self.problems[said.strip()[-120:]] += 1

    def count(self) -> Tally:
        """What is known so far."""
        made, link = self.tally.copy(), self.link
        made.sent, made.received, made.packets = link.sent, link.received, link.packets
        made.resets, made.partitions, made.half_open = link.resets, link.partitions, link.half_open
        made.joined = int(self.runtime.joined)
        made.settled = int(self.settled)
        made.spooled = self.spooled
        self._gather(made)
        return made

    # the inside

    def _start(self) -> None:
        now = time.time_ns() // 1_000_000
        if self._clock < self.profile.clockless:
            self.shift_ms = -now
        elif self._clock < self.profile.clockless + self.profile.skewed:
            self.shift_ms = self._skew
        self.disk = Disk()
        settings: dict[str, Any] = {
            "url": self._url,
            "fleet": self._fleet,
            "profile": self.profile.settings,
            "spool": str(self._folder),
            "spool_bytes": SPOOL,
        }
        if self._plan.hurry != 1:
            usual = PROFILES[self.profile.settings]
            for name in ("ping", "reconnect_max"):
                settings[name] = usual[name] / self._plan.hurry
        self.boot = Boot(self._agent(), settings)
        self.boot.task = asyncio.create_task(self.runtime.serve(_ignore))

    async def _power(self) -> None:
        """Cut it now and then."""
        every = self.profile.reboot_every
        while every and not self._calm.is_set():
            if await self._calmed(self.draw.expovariate(1 / every)):
                return
            self.tally.reboots += 1
            self.tally.carried += len(self.boot.carried)
            # Before what is on its way is dropped for want of a disk: it is counted above.
            self._gather(self.tally)
            self.boot.counted = True
            self.disk.cut()
            self.link.power_cut()
            await self._end()
            await self._calmed(self.draw.uniform(*self.profile.off))
            self._start()

    async def _end(self) -> None:
        """Let nothing of this boot live on."""
        task = self.boot.task
        if task is None:
            return
        self.boot.task = None
        stopped = self.runtime.failure
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled() and task.exception() is not None and self.disk.on:
            self.heard(port.ERROR, f"the agent ended with {task.exception()!r}")
        self._gather(self.tally)
        self.tally.stopped += bool(stopped)
        self.boot = Boot(self._agent(), {"url": self._url, "fleet": self._fleet})

    def _gather(self, tally: Tally) -> None:
        """Add what this boot has counted, unless that was done."""
        runtime = self.runtime
        if self.boot.counted:
            return
        tally.connections += runtime.client.generation
        tally.boots += runtime.client.generation > 0
        tally.refused += runtime.work.refused
        tally.lapsed += runtime.work.lapsed
        tally.garbage += runtime.client.dropped
        if runtime.outbox is not None:
            tally.dropped += runtime.outbox.report()["dropped"]

    async def _now_and_then(self, every: float, accident: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(self.draw.expovariate(1 / every))
            await accident()

    async def _reset(self) -> None:
        self.link.reset()

    async def _part(self) -> None:
        self.link.cut()
        await asyncio.sleep(self.draw.uniform(*self.profile.partition))
        self.link.heal()

    async def _calmed(self, seconds: float) -> bool:
        """Wait so long; True as soon as there are to be no accidents."""
        try:
            async with asyncio.timeout(seconds):
                await self._calm.wait()
        except TimeoutError:
            return False
        return True

    def _agent(self) -> Agent:
        agent = Agent(self.name, site="simulated", slots=2, queue=2, grace=GRACE)
        for name in CAPABILITIES:
            agent.capability(self._plan.capability(name), params={"seconds": float, "size": int})(
                self._handler
            )
        agent.telemetry("count", every=self._plan.every)(self._reading)
        return agent

    async def _handler(self, task: Any, seconds: float, size: int) -> str:
        self.runs.append((task.id, self.tally.reboots))
        await asyncio.sleep(seconds)
        return "x" * size

    async def _reading(self) -> list[int] | None:
        # Without power nothing is measured, though the agent's code has not ended everywhere yet:
        # such a reading would be neither stored nor known as one that was in memory.
        if self._quiet or not self.disk.on:
            return None
        self.tally.taken += 1
        told = self.runtime.clock.set
        return [self.tally.taken, time.time_ns() // 1_000_000, int(told)]


def _ignore(stop: Callable[[], None]) -> None:
    """Signals are for the process, not for one of its devices."""
