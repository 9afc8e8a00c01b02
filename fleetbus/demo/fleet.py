"""The demo's fleet: a server, coordinators and agents, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bus import connect, topology
from bus.errors import FleetError
from bus.leash import leashed
from bus.server import NatsServer
from bus.transport import Inbound
from fleetbus.children import ROOT

NAME: Final = "demo"
"""The fleet's name; the server is the demo's own, so nobody else has it."""
READY: Final = 20.0
"""Seconds until all members must have been heard of."""
STOP: Final = 3.0
"""Seconds for all members to end by themselves before they are killed."""


@dataclass(frozen=True, slots=True)
class Member:
    """An agent to start."""

    name: str
    slots: int = 4
    pause: float = 0.0
    """Seconds that it pauses on each task."""


class DemoFleet:
    """Entered, it runs and everybody has joined; left, no process of it remains.

    Members have sessions of their own, so that Ctrl-C reaches only this process, which then
    stops them; if it is killed itself, the kernel kills them.

    Args:
        directory: an existing one for the store, logs and ledgers. It is not removed.
        agents: whom to start.
        coordinators: their names.
    """

    def __init__(
        self,
        directory: Path,
        agents: Sequence[Member],
        coordinators: Sequence[str] = ("c1", "c2"),
    ) -> None:
        self.agents = tuple(agents)
        self.coordinators = tuple(coordinators)
        self.ledgers = directory / "starts"
        self._directory = directory
        self._server = NatsServer(store_dir=directory / "nats")
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._killed: set[str] = set()
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of all that were started, the server's included, by name."""
        found = {name: process.pid for name, process in self._processes.items()}
        if self._server.pid is not None:
            found["nats-server"] = self._server.pid
        return found

    async def __aenter__(self) -> Self:
        """Start everything; return when every coordinator and agent has been heard of.

        Raises:
            ServerError: the server could not be started.
            FleetError: a member ended, or was not heard of in time; quotes its log.
        """
        async with AsyncExitStack() as stack:
            (self._directory / "nats").mkdir()
            self.ledgers.mkdir()
            await stack.enter_async_context(self._server)
            stack.push_async_callback(self._stop)
            await self._start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def kill(self, name: str) -> None:
        """SIGKILL a member.

        Raises:
            FleetError: it is not running.
        """
        process = self._processes[name]
        if process.returncode is not None:
            raise FleetError(self._ended(name))
        self._killed.add(name)
        process.send_signal(signal.SIGKILL)

    def check(self) -> None:
        """Return if all members run that were not killed on purpose.

        Raises:
            FleetError: one has ended; quotes its log.
        """
        for name, process in self._processes.items():
            if process.returncode is not None and name not in self._killed:
                raise FleetError(self._ended(name))

    # the inside

    async def _start(self) -> None:
        waited = {f"coordinator.{name}" for name in self.coordinators}
        waited |= {f"hb.default.{one.name}" for one in self.agents}
        everybody = asyncio.Event()

        def on_sign(message: Inbound) -> None:
            waited.discard(message.subject[len(bus.subjects.root) + 1 :])
            if not waited:
                everybody.set()

        async with connect(self.url, NAME, name="demo") as bus:
            # Here and not by the coordinators, so that nobody has to wait for the streams.
            await topology.ensure(bus)
            await bus.listen(bus.subjects.coordinators, on_sign)
            await bus.listen(bus.subjects.heartbeats, on_sign)
            await bus.flush()
            for name in self.coordinators:
                await self._run(name, "coordinator")
            for one in self.agents:
                extra = (str(one.slots), str(one.pause), str(self.ledgers))
                await self._run(one.name, "agent", *extra)
            try:
                async with asyncio.timeout(READY):
                    await self._all(everybody)
            except TimeoutError:
                missing = ", ".join(sorted(waited))
                raise FleetError(f"not heard of within {READY:g} s: {missing}") from None

    async def _all(self, everybody: asyncio.Event) -> None:
        """Return when everybody was heard of; raise as soon as one has ended instead."""
        signs = asyncio.create_task(everybody.wait())
        ends = [asyncio.create_task(one.wait()) for one in self._processes.values()]
        try:
            await asyncio.wait([signs, *ends], return_when=asyncio.FIRST_COMPLETED)
            self.check()
        finally:
            for waiter in (signs, *ends):
                waiter.cancel()
            await asyncio.gather(signs, *ends, return_exceptions=True)

    async def _run(self, name: str, role: str, *extra: str) -> None:
        # As for fleetbus.children.Child: no file of the user's may hide a package of ours.
        safe = ["-P"] if Path.cwd() != ROOT else []
        program = [sys.executable, *safe, "-m", "fleetbus.demo.process"]
        with self._log(name).open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *leashed([*program, role, self.url, NAME, name, *extra]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _stop(self) -> None:
        """SIGTERM to all at once, SIGKILL to who is left after ``STOP`` seconds."""
        running = [one for one in self._processes.values() if one.returncode is None]
        for one in running:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                one.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP):
                for one in running:
                    await one.wait()
        except TimeoutError:
            for one in running:
                with contextlib.suppress(ProcessLookupError):  # it ended in time
                    one.kill()
            for one in running:
                await one.wait()

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _ended(self, name: str) -> str:
        code = self._processes[name].returncode
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        quoted = "\n  ".join(lines[-5:])
        return f"{name} ended with exit status {code}; the end of its log:\n  {quoted}"
