"""A whole fleet on this machine: server and coordinators here, agents in child processes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from bus.errors import FleetError, ServerError
from bus.server import NatsServer
from bus.server_config import ServerConfig
from bus.subjects import token
from coordinator import Coordinator
from fleetbus.children import Child, ended
from fleetbus.console import hint, say

DEMO: Final = "fleetbus.demo.agents:demo_agents"

START_TIMEOUT: Final = 60.0
"""Seconds until all agents must be ready: some load models."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class AgentProcess:
    """A child process with the agents of one target."""

    def __init__(self, target: str, arguments: list[str]) -> None:
        self.target = target
        self.child = Child(arguments, self._on_line)
        self.ready = asyncio.Event()
        """Set when all its agents have joined."""
        self.agents: list[str] = []
        self._expected: set[str] = set()

    def _on_line(self, line: str) -> None:
        """Read what ``agent run`` says of its agents; pass on what their handlers print."""
        words = line.split()
        if words[:1] == ["starting"] and not self.agents:
            self.agents = [word.rstrip(",") for word in words[1:]]
            self._expected = set(self.agents)
        elif len(words) >= 3 and words[0] == "agent" and words[2] in ("ready:", "stopped"):
            self._expected.discard(words[1])
            if self.agents and not self._expected:
                self.ready.set()
        else:
            print(line, flush=True)


class LocalFleet:
    """What ``fleetbus up`` runs.

    Args:
        targets: as for ``fleetbus agent run``, each to be a process; none for the samples.
        port: of the server; 0 for any.
        store: where the server keeps streams; None for a directory that goes with it.
        coordinators: how many.
        fleet: its name.
        mqtt: where devices that speak only MQTT are listened for; None: nowhere.

    Raises:
        InvalidName: the fleet's name is not a legal token.
    """

    def __init__(
        self,
        targets: list[str],
        port: int,
        store: Path | None,
        coordinators: int,
        fleet: str,
        mqtt: int | None = None,
    ) -> None:
        self._targets = targets
        self._server = NatsServer(port, store, config=ServerConfig(mqtt_port=mqtt))
        self._mqtt = mqtt
        self._store = store
        self._coordinators = coordinators
        self._fleet = token("fleet", fleet)
        self._stop = asyncio.Event()
        self._processes: list[AgentProcess] = []
        self._problem: FleetError | None = None

    async def serve(self) -> None:
        """Run until SIGINT or SIGTERM.

        Raises:
            ServerError: the server could not be started, or ended.
            FleetError: an agent process ended before its agents were ready.
        """
        me = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if self._stop.is_set() and me is not None:
                # The second one: whatever is being waited for, end it.
                for process in self._processes:
                    process.child.send(signal.SIGKILL)
                me.cancel()
            self._stop.set()

        for number in SIGNALS:
            loop.add_signal_handler(number, on_signal)
        try:
            await self._run()
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
            raise KeyboardInterrupt from None
        except FleetError as error:
            # Without its server the rest ends with errors of its own, which explain nothing.
            raise self._problem or error from None
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
        if self._problem is not None:
            raise self._problem

    async def _run(self) -> None:
        # The stack is the order of the end: agents, then coordinators, then the server.
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._server)
            watcher = asyncio.create_task(self._watch_server(), name="server-watch")
            stack.push_async_callback(_cancel, watcher)
            for _ in range(self._coordinators):
                await stack.enter_async_context(Coordinator.connect(self._server.url, self._fleet))
            stack.push_async_callback(self._stop_agents)
            await self._start_agents()
            if not self._stop.is_set():
                self._announce()
            await self._stop.wait()
            if self._problem is None:
                hint("draining the agents; Ctrl-C again ends everything at once")

    async def _start_agents(self) -> None:
        where = ["--url", self._server.url, "--fleet", self._fleet, "--log-level", "warning"]
        wanted = [(target, ["agent", "run", target, *where]) for target in self._targets]
        if not wanted:
            from fleetbus.demo.agents import demo_agents

            wanted = [
                (agent.id, ["agent", "run", DEMO, "--only", agent.id, *where])
                for agent in demo_agents()
            ]
        self._processes = [AgentProcess(target, arguments) for target, arguments in wanted]
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await asyncio.gather(*[self._start(process) for process in self._processes])
        except TimeoutError:
            late = ", ".join(p.target for p in self._processes if not p.ready.is_set())
            raise FleetError(
                f"agents not ready after {START_TIMEOUT:g} s: {late}; "
                "try 'fleetbus agent run' with them to see why"
            ) from None

    async def _start(self, process: AgentProcess) -> None:
        """Start a process; return when its agents are ready, or we are to stop."""
        await process.child.start()
        ending = asyncio.create_task(process.child.wait(), name="agent-end")
        ready = asyncio.create_task(process.ready.wait())
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((ending, ready, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            stop.cancel()
            if not ending.done():
                ending.add_done_callback(lambda task: self._on_end(process, task))
        if ending.done() and not process.ready.is_set() and not self._stop.is_set():
            raise FleetError(
                f"the agent process of {process.target} {ended(ending.result())} "
                "before it was ready"
            )

    def _on_end(self, process: AgentProcess, task: asyncio.Task[int]) -> None:
        if self._stop.is_set() or task.cancelled():
            return
        names = ", ".join(process.agents) or process.target
        say(f"agent {names} (process {process.child.pid}) {ended(task.result())}")

    async def _watch_server(self) -> None:
        status = await self._server.wait()
        if not self._stop.is_set():
            self._problem = ServerError(
                f"nats-server {ended(status)}; its log is {self._server.log_path}"
            )
            self._stop.set()

    async def _stop_agents(self) -> None:
        # So that an end by an error is an end, too, and nobody reports it as a surprise.
        self._stop.set()
        try:
            await asyncio.gather(*[process.child.stop() for process in self._processes])
        finally:
            for process in self._processes:
                process.child.send(signal.SIGKILL)

    def _announce(self) -> None:
        agents = sorted(name for process in self._processes for name in process.agents)
        many = f"{self._coordinators} coordinator{'s' if self._coordinators > 1 else ''}"
        kept = f"kept in {self._store}" if self._store else "not kept"
        options = ""
        if self._server.port != 4222:
            options += f" -u {self._server.url}"
        if self._fleet != "dev":
            options += f" -f {self._fleet}"
        things = f", MQTT on {self._server.host}:{self._mqtt}" if self._mqtt else ""
        print(
            f"ready: {self._server.url}, fleet {self._fleet} ({kept}), {many}, "
            f"{len(agents)} agents: {', '.join(agents)}{things}",
            flush=True,
        )
        hint(f"now type, in another terminal: fleetbus agents{options}   (Ctrl-C here stops all)")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
