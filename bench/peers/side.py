"""A side that runs: its server, its workers, and the driver that submits to them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.harness.errors import BenchError, ChildFailed
from bench.harness.load import Load
from bench.harness.processes import Child
from bench.peers.environment import PLACE, Environment
from bench.peers.peer import Peer
from bench.peers.processes import Mortal, family_cpu, start
from bench.peers.server import Address, serving
from bench.sides import ours

WORKERS: Final = 2
SLOTS: Final = 32
"""Of each of our agents; an agent takes more than these and has them wait."""
ANSWER_TIMEOUT: Final = 60.0
"""Seconds that a driver may take longer than its order says."""
OURS: Final = "bench.peers.ours"
"""The module of our driver."""


@dataclass(slots=True)
class Side:
    """A peer, or we, ready for orders."""

    peer: Peer
    server: Address
    others: list[Child]
    """What is neither worker nor driver: a coordinator, a host."""
    workers: list[Child]
    driver: Child
    log: Path

    @property
    def versions(self) -> str:
        """Of the packages that it uses."""
        return self.driver.said.removeprefix("ready").strip()

    async def order(self, **order: Any) -> tuple[Load, int]:
        """Carry out an order (:class:`bench.peers.scripts.loop.Order`).

        Returns:
            What was measured, and how many tasks were given up.

        Raises:
            ChildFailed: the driver ended, or did not answer in time.
        """
        limit = ANSWER_TIMEOUT + order.get("seconds", 0.0) + order.get("within", 0.0)
        took: list[float] = []
        with self._awake():
            await self.driver.tell(json.dumps(order))
            while "seconds" not in (said := json.loads(await self._line(limit))):
                took += [microseconds / 1e6 for microseconds in said["took"]]
        failures: list[Exception] = [BenchError(one) for one in said["failures"]]
        return Load(said["seconds"], took, failures), said["pending"]

    def cpu(self) -> float:
        """Seconds of processor time that all its processes have used so far, its server's too."""
        pids = [child.pid for child in (*self.others, *self.workers, self.driver)]
        return family_cpu([*pids, *self.server.pids])

    async def _line(self, limit: float) -> str:
        try:
            return await self.driver.line(limit)
        except ChildFailed as error:
            raise explained(error, self.peer, self.log) from error

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Workers that poll without a pause are stopped while it is not their turn."""
        self.signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.signal(signal.SIGSTOP)

    def signal(self, number: signal.Signals) -> None:
        """Send it to the workers of a peer that polls; the others need none."""
        for worker in self.workers if self.peer.polls else ():
            if worker.process.returncode is None:
                os.kill(worker.pid, number)


@asynccontextmanager
async def running(
    peer: Peer, place: Path = PLACE, mortal: Mortal | None = None
) -> AsyncIterator[Side]:
    """A side with a server of its own. All of it ends at the end.

    Args:
        place: where the peers' environments are.
        mortal: how its workers are set up if they are to be killed.

    Raises:
        Missing: its environment or its server is not installed.
        BenchError: one of its processes did not start; the message ends with what it logged.
    """
    async with AsyncExitStack() as stack:
        python = Environment(peer.environment, place).python() if peer.environment else ""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-peer-")))
        server = await stack.enter_async_context(serving(peer.server, place))
        log = folder / "log"
        children: list[Child] = []
        stack.push_async_callback(_stop, children)
        try:
            others = await start(children, _others(peer, server.text), log, python)
            workers = await start(children, _workers(peer, server.text, mortal), log, python)
            command = _script(peer, "driver", server.text, mortal)
            [driver] = await start(children, [command], log, python, stdin=True)
        except ExceptionGroup as errors:
            # Not except*: some Pythons wrap what is raised there in a group again.
            failed, strange = errors.split(ChildFailed)
            if failed is None or strange is not None:
                raise
            raise explained(failed.exceptions[0], peer, log) from errors
        side = Side(peer, server, others, workers, driver, log)
        stack.callback(side.signal, signal.SIGCONT)  # who is stopped would not hear of the end
        yield side


def explained(error: BaseException, peer: Peer, log: Path) -> BenchError:
    """With the end of what the side's processes logged."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    said = " / ".join(line.strip() for line in lines if line.strip())[-300:]
    return BenchError(f"{peer.name}: {error}{f'; its log ends with: {said}' if said else ''}")


async def _stop(children: list[Child]) -> None:
    await asyncio.gather(*(child.stop() for child in children))


def _others(peer: Peer, server: str) -> list[tuple[str, ...]]:
    if not peer.script:
        return [ours.coordinator_command(server)]
    return [_script(peer, "host", server)] if peer.server == "host" else []


def _workers(peer: Peer, server: str, mortal: Mortal | None) -> list[tuple[str, ...]]:
    if not peer.script:
        slots = mortal.hands if mortal else SLOTS
        return [ours.agent_command(server, f"a{n}", slots) for n in range(WORKERS)]
    if peer.pool and not mortal:
        return [_script(peer, "worker", server, processes=WORKERS)]
    return [_script(peer, "worker", server, mortal, number=n) for n in range(WORKERS)]


def _script(
    peer: Peer, role: str, server: str, mortal: Mortal | None = None, **more: Any
) -> tuple[str, ...]:
    setup = {"server": server, "late": peer.late, "typed": peer.typed, **more}
    if mortal:
        setup |= {"hands": mortal.hands, "recovery": mortal.recovery}
    return ("-m", peer.script or OURS, role, json.dumps(setup))
