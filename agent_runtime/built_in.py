"""The commands that every agent answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from agent_runtime.commands import Verb, issuer, verb
from agent_runtime.overrides import LONGEST
from bus.subjects import task_tokens
from bus.version import VERSION
from bus.wire.config import ConfigReport

if TYPE_CHECKING:
    from agent_runtime.runtime import Runtime

NAMES: Final = frozenset(
    (
        "ping",
        "status",
        "drain",
        "resume",
        "stop",
        "set-log-level",
        "cancel",
        "config",
        "config-override",
        "config-clear",
    )
)

Ttl = Annotated[float, msgspec.Meta(gt=0, le=LONGEST)]
"""Seconds."""


def verbs(runtime: Runtime) -> dict[str, Verb]:
    """The built-in commands of one running agent."""
    found: dict[str, Callable[..., Any]] = {**_life(runtime), **_configuration(runtime)}
    return {name: verb(handler, name) for name, handler in found.items()}


def _life(runtime: Runtime) -> dict[str, Callable[..., Any]]:
    async def ping() -> str:
        """Answer."""
        return "pong"

    async def status() -> dict[str, Any]:
        """State and load."""
        load = runtime.load
        return {
            "state": runtime.intake.state,
            "slots": load.slots,
            "window": load.window,
            "running": load.running,
            "queued": load.queued,
            "done": load.done,
            "failed": load.failed,
            "canceled": load.canceled,
            "adopted": runtime.intake.adopted,
            "lapsed": runtime.executor.lapsed,
            "refused_results": load.refused_results,
            "dropped_messages": runtime.bus.dropped,
            "tasks": [held.id for held in runtime.intake.held.values()][:100],
            "uptime_s": round(time.time() - runtime.started_ms / 1000, 1),
            "version": VERSION,
        }

    async def drain() -> str:
        """Take no more tasks; finish those that are held."""
        runtime.intake.drain()
        await runtime.presence.say("draining")
        return "draining"

    async def resume() -> str:
        """Take tasks again; without a good configuration, once there is one."""
        runtime.intake.resume()
        await runtime.presence.say("resumed")
        return "ready" if runtime.intake.state == "ready" else "waiting for a good configuration"

    async def stop() -> str:
        """Drain within the grace time and end the process."""
        # Answer first: the connection goes down with us.
        asyncio.get_running_loop().call_later(0.05, runtime.stopping.set)
        return "stopping"

    async def set_log_level(
        level: Literal["debug", "info", "warning", "error"], logger: str = "fleetbus"
    ) -> str:
        """Change what a logger writes."""
        logging.getLogger(logger).setLevel(level.upper())
        return f"{logger} {level}"

    async def cancel(task_id: str, reason: str = "canceled by an operator") -> bool:
        """Cancel a task that this agent holds; false if it holds no such task."""
        task_tokens(task_id)
        return runtime.intake.cancel(task_id, reason)

    return {
        "ping": ping,
        "status": status,
        "drain": drain,
        "resume": resume,
        "stop": stop,
        "set-log-level": set_log_level,
        "cancel": cancel,
    }


def _configuration(runtime: Runtime) -> dict[str, Callable[..., Any]]:
    async def config() -> ConfigReport:
        """What configuration is in force, what was rejected, and what is overridden."""
        return runtime.configured.report()

    async def config_override(values: dict[str, Any], ttl: Ttl) -> dict[str, Any]:
        """Set values on this process for ``ttl`` seconds; they are lost when it ends."""
        made = await runtime.configured.current.override(values, ttl, issuer.get())
        return {"set": [one.path for one in made], "until_ms": made[0].until_ms}

    async def config_clear(keys: list[str] | None = None) -> list[str]:
        """End the overrides at or below the keys, or all; answers which those were."""
        return await runtime.configured.current.clear(keys or [])

    return {
        "config": config,
        "config-override": config_override,
        "config-clear": config_clear,
    }
