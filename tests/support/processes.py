"""Agents and coordinators as processes of their own, to be killed and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bus.leash import leashed
from tests.support.cli import ROOT, environment

START_TIMEOUT: Final = 20.0
"""Seconds: a loaded machine takes several to import."""


class Worker:
    """One process. It has said that it is ready."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log
        """What it wrote on stderr."""

    def __repr__(self) -> str:
        return f"<Worker {self.name} pid {self.process.pid}>"

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait for it."""
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self.process.kill()
        await self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connection and does nothing."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    async def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM; return the exit status.

        Raises:
            TimeoutError: it did not end in ``timeout`` seconds.
        """
        self.send(signal.SIGTERM)
        async with asyncio.timeout(timeout):
            return await self.process.wait()


class Workers:
    """All processes of one test; those that still run at its end are killed."""

    def __init__(self, directory: Path, url: str, fleet: str, **settings: str) -> None:
        """``settings`` are environment variables, such as ``FLEETBUS_TOPOLOGY_ACK_WAIT``."""
        self.runs = directory / "runs"
        self._directory = directory
        self._environment = environment(FLEETBUS_URL=url, FLEETBUS_FLEET=fleet, **settings)
        self._all: list[Worker] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(worker.kill() for worker in self._all))
        if error is not None:
            for log in sorted(self._directory.glob("*.log")):
                print(f"--- {log.name}", log.read_text(errors="replace")[-4000:], sep="\n")

    async def agent(self, name: str, slots: int = 4) -> Worker:
        """Start an agent with the capabilities of ``tests.support.worker``."""
        return await self._start("agent", name, str(slots), str(self.runs))

    async def agents(self, *names: str, slots: int = 4) -> list[Worker]:
        """Start several at once."""
        return list(await asyncio.gather(*(self.agent(name, slots) for name in names)))

    async def coordinator(self, name: str) -> Worker:
        return await self._start("coordinator", name)

    async def _start(self, role: str, name: str, *rest: str) -> Worker:
        log = self._directory / f"{role}-{name}-{len(self._all)}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *leashed([sys.executable, "-m", "tests.support.worker", role, name, *rest]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=self._environment,
            )
        worker = Worker(name, process, log)
        self._all.append(worker)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while line := await process.stdout.readline():
                    if b" ready" in line:
                        return worker
        except TimeoutError:
            pass
        raise AssertionError(f"{role} {name} is not ready: {log.read_text(errors='replace')}")
