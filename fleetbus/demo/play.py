"""Plays the demo's one scene: work flows, one agent is killed half-way, all of it is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from bus import Client, codec
from bus.errors import FleetError
from bus.transport import Inbound
from bus.wire.event import Event
from bus.wire.heartbeat import Heartbeat
from bus.wire.result import Result
from fleetbus.demo.display import REFRESH, Display
from fleetbus.demo.fleet import DemoFleet
from fleetbus.demo.scene import Scene
from fleetbus.demo.work import Job

STALL: Final = 30.0
"""Seconds without any result after which the rest is given up as lost. Much longer than the
ack wait, the slowest way on which a task comes back."""
BUDGET: Final = 60.0
"""Seconds after which nothing more is submitted, so that a slow machine ends in time too."""
CHANCE: Final = 5.0
"""Seconds to wait for a moment in which the victim runs some tasks and holds others."""
FRESH: Final = 0.005
"""Age in seconds up to which a heartbeat still tells what its agent holds."""
NOTICE: Final = 10.0
"""Seconds that the fleet is given to announce the loss of the victim."""


class Play:
    """One run over a fleet that is up.

    Args:
        on_result: told of each completed task and its job.
        victim: the agent to kill.
    """

    def __init__(
        self,
        fleet: DemoFleet,
        client: Client,
        scene: Scene,
        display: Display,
        on_result: Callable[[Job, Result], None],
        victim: str,
    ) -> None:
        self.killed_at = 0.0
        """Unix time of the kill; 0 before."""
        self._fleet = fleet
        self._client = client
        self._scene = scene
        self._display = display
        self._on_result = on_result
        self._victim = victim
        self._begun = time.monotonic()
        self._news = self._begun
        self._half_at = 0.0
        """When half of the work was done; 0 before."""
        self._killed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()

    async def run(self, jobs: Iterator[Job], outstanding: int) -> None:
        """Submit all jobs, ``outstanding`` at a time, and wait for their results.

        Raises:
            FleetError: a member of the fleet ended that was not to, or the bus is gone.
        """
        bus = self._client.bus
        await bus.listen(bus.subjects.heartbeats, self._on_heartbeat)
        await bus.listen(bus.subjects.event("lost", "*"), self._on_lost)
        await bus.flush()
        self._begun = self._news = time.monotonic()
        show = asyncio.create_task(self._show())
        try:
            await self._work(jobs, outstanding)
            if self._half_at:
                await self._announced()
        finally:
            show.cancel()
            (problem,) = await asyncio.gather(show, return_exceptions=True)
        if isinstance(problem, Exception):
            raise problem
        self._display.show(self._scene)

    async def statuses(self) -> dict[str, dict[str, Any]]:
        """What each living agent says of itself, by name."""
        broadcast = self._client.broadcast("status", timeout=3.0)
        return {reply.agent: reply.output async for reply in broadcast if reply.state == "ok"}

    async def stored(self) -> tuple[int, int, int]:
        """What the broker has: results of ours, the most for one task, tasks left over.

        Tasks are acknowledged after their results are stored, so the last acks may still be
        on their way: they are waited for, for a second.
        """
        bus = self._client.bus
        subjects = bus.subjects
        counts = await self._count(subjects.results_stream, subjects.result(f"{self._client.id}.*"))
        until = time.monotonic() + 1.0
        while True:
            left = await self._count(subjects.tasks_stream, subjects.tasks)
            if not left or time.monotonic() > until:
                return sum(counts.values()), max(counts.values(), default=0), sum(left.values())
            await asyncio.sleep(0.02)

    # the inside

    async def _count(self, stream: str, subject: str) -> dict[str, int]:
        """Messages of a stream on each subject, page by page as the server gives them."""
        found: dict[str, int] = {}
        while True:
            body = {"subjects_filter": subject, "offset": len(found)}
            info = await self._client.bus.api(f"STREAM.INFO.{stream}", body)
            page = info["state"].get("subjects") or {}
            found.update(page)
            if not page or len(found) >= info.get("total", len(found)):
                return found

    async def _work(self, jobs: Iterator[Job], outstanding: int) -> None:
        workers = [asyncio.create_task(self._worker(jobs)) for _ in range(outstanding)]
        pending = set(workers)
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=1.0, return_when=asyncio.FIRST_EXCEPTION
                )
                for one in done:
                    one.result()
                self._fleet.check()
                if time.monotonic() - self._news > STALL:
                    self._display.say(f"no result for {STALL:g} s: giving up")
                    return
        finally:
            for one in pending:
                one.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _worker(self, jobs: Iterator[Job]) -> None:
        scene = self._scene
        for job in jobs:
            began = time.monotonic()
            if began - self._begun > BUDGET:
                scene.total = scene.submitted
                return
            number = scene.begin(began)
            handle = await self._client.submit(job.capability, job.value)
            scene.stored()
            result = await handle.outcome()
            now = self._news = time.monotonic()
            if line := scene.settled(number, result, now - began, now):
                self._display.say(line)
            if result.state == "completed":
                self._on_result(job, result)
            half = scene.done * 2 >= scene.total or now - self._begun > BUDGET / 2
            if half and not self._half_at:
                self._half_at = now

    async def _announced(self) -> None:
        try:
            async with asyncio.timeout(NOTICE):
                await self._killed
                await self._lost.wait()
        except TimeoutError:
            self._display.say(f"the loss of {self._victim} was not announced within {NOTICE:g} s")

    async def _show(self) -> None:
        while True:
            self._display.show(self._scene)
            await asyncio.sleep(REFRESH)

    def _on_heartbeat(self, message: Inbound) -> None:
        beat = codec.decode(Heartbeat, message.data, "heartbeat")
        self._scene.beat(beat)
        if beat.agent == self._victim and self._half_at and not self._killed.done():
            self._consider(beat, time.monotonic())

    def _consider(self, beat: Heartbeat, now: float) -> None:
        """Kill the victim if it is busy. At once, because by the next turn of the event loop it
        may have done what it holds."""
        fresh = time.time() - beat.sent_ms / 1000 < FRESH
        busy = fresh and beat.running == beat.slots and beat.queued >= beat.slots
        if not busy and self._scene.open and now < self._half_at + CHANCE:
            return
        try:
            self._fleet.kill(self._victim)
        except FleetError as problem:
            self._killed.set_exception(problem)
            return
        self.killed_at = time.time()
        self._killed.set_result(None)
        self._display.say(self._scene.killed(beat, time.monotonic()))

    def _on_lost(self, message: Inbound) -> None:
        event = codec.decode(Event, message.data, "event")
        why = str(event.data.get("why", ""))
        if event.subject_id == self._victim:
            self._lost.set()
        if line := self._scene.lost(event.subject_id, why, time.monotonic()):
            self._display.say(line)
