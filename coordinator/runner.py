"""Runs a coordinator as a process: until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any, Final

from bus.backoff import full_jitter
from bus.errors import ConnectError
from bus.telemetry import Hook
from coordinator.health import HealthServer
from coordinator.service import Coordinator
from coordinator.settings import CoordinatorSettings, load

log = logging.getLogger("fleetbus.coordinator")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

FORCED: Final = 130
"""Exit status after a second signal."""


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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            log.warning("second signal: ending at once")
            sys.stderr.flush()
            os._exit(FORCED)
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        async with AsyncExitStack() as stack:
            health = _Health()
            shown = ""
            if chosen.http:
                server = await stack.enter_async_context(health.server(chosen.http))
                shown = f", http://{_authority(server)}"
            coordinator = await _join(chosen, stop, wait, health.hook, options)
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
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


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


async def _join(
    settings: CoordinatorSettings,
    stop: asyncio.Event,
    wait: bool,
    hook: Hook | None,
    options: dict[str, Any],
) -> Coordinator | None:
    """Enter a coordinator; None if we were stopped before a server was there."""
    rng = random.Random()
    tries = 0
    while not stop.is_set():
        coordinator = Coordinator.connect(settings=settings, hook=hook, **options)
        try:
            return await coordinator.__aenter__()
        except (ConnectError, TimeoutError) as problem:
            if not wait:
                raise
            if tries == 0:
                log.warning("waiting: %s", problem)
            delay = full_jitter(tries, 0.2, 5.0, rng)
            tries += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await stop.wait()
    return None


def _authority(server: HealthServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
