"""Runs a coordinator as a process: until a signal ends it."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from bus.errors import ConnectError
from bus.serving import entered, until_signal
from bus.telemetry import Hook
from coordinator.health import HealthServer
from coordinator.service import Coordinator
from coordinator.settings import CoordinatorSettings, load

log = logging.getLogger("fleetbus.coordinator")


async def serve(
    settings: CoordinatorSettings | None = None, *, wait: bool = True, **options: Any
) -> None:
    """Run a coordinator until SIGTERM or SIGINT. A second one ends the process at once; tasks
    that it holds go to others when the broker's ack wait is over.

    Args:
        settings: by default from the environment and the settings file.
        wait: keep trying while no server is there yet, as a service should.
        **options: as for ``Coordinator.connect``.

    Raises:
        FleetError: it could not start; the message says what to mend.
    """
    chosen = settings or load()
    with until_signal(log) as stop:
        async with AsyncExitStack() as stack:
            health = _Health()
            shown = ""
            if chosen.http:
                server = await stack.enter_async_context(health.server(chosen.http))
                shown = f", http://{_authority(server)}"
            coordinator = await entered(
                partial(Coordinator.connect, settings=chosen, hook=health.hook, **options),
                stop,
                (ConnectError, TimeoutError) if wait else (),
                lambda problem: log.warning("waiting: %s", problem),
            )
            if coordinator is None:
                return
            stack.push_async_exit(coordinator)
            health.watch(coordinator)
            print(
                f"coordinator {coordinator.id} ready: fleet {coordinator.bus.subjects.fleet}, "
                f"{len(coordinator.view)} agents{shown}",
                flush=True,
            )
            await stop.wait()
        print(f"coordinator {coordinator.id} stopped", flush=True)


class _Health:
    """What the health endpoint asks, before there is a coordinator and after."""

    def __init__(self) -> None:
        self.hook: Hook | None = None
        self._coordinator: Coordinator | None = None
        self._watch: Any = None

    def server(self, address: str) -> HealthServer:
        # Only who is scraped pays for the library.
        from coordinator.metrics import Metrics

        metrics = Metrics()
        self.hook = metrics
        self._watch = metrics.watch
        return HealthServer(address, self.unready, metrics.render)

    def watch(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        if self._watch is not None:
            self._watch(coordinator)

    def unready(self) -> str:
        if self._coordinator is None:
            return "waiting for the server"
        if not self._coordinator.ready:
            return "stopping"
        if not self._coordinator.bus.connected:
            return "disconnected from the server"
        return ""


def _authority(server: HealthServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
