"""``fleetbus agent run`` as a process: what an idle agent has in memory, and no more.

Typer brings pydantic, which costs 12 MB and 150 ms of an agent's start. So the arguments of
``agent run`` are read here when they are plain, and by typer, which can explain, when they are
not: when they ask for help, or are wrong.
"""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bus.errors import SettingsError
from fleetbus.console import fail
from fleetbus.logs import LEVELS, configure
from fleetbus.running import run

LONG: Final = ("url=", "fleet=", "log-level=", "only=", "reload", "wait", "no-wait")
SHORT: Final = "u:f:l:"
_NAMES: Final = {"-u": "--url", "-f": "--fleet", "-l": "--log-level"}
_KNOWN: Final = frozenset(f"--{name.rstrip('=')}" for name in LONG)


@dataclass(frozen=True, slots=True)
class AgentRun:
    """What ``fleetbus agent run`` was told."""

    targets: tuple[str, ...]
    only: tuple[str, ...] = ()
    reload: bool = False
    wait: bool = True
    log_level: str = "info"
    url: str | None = None
    fleet: str | None = None


def parse(arguments: Sequence[str]) -> AgentRun | None:
    """Read the arguments after ``agent run``; None where typer must have the word. Pure."""
    for argument in arguments:
        # getopt would take an abbreviation for the option, which typer does not.
        if argument.startswith("--") and argument.partition("=")[0] not in _KNOWN:
            return None
    try:
        options, targets = getopt.gnu_getopt(list(arguments), SHORT, list(LONG))
    except getopt.GetoptError:
        return None
    single: dict[str, str] = {}
    only: list[str] = []
    for name, value in options:
        if name == "--only":
            only.append(value)
        else:
            single[_NAMES.get(name, name)] = value
            if name in ("--wait", "--no-wait"):
                single.pop("--no-wait" if name == "--wait" else "--wait", None)
    level = single.get("--log-level", "info")
    if not targets or level not in LEVELS:
        return None
    return AgentRun(
        targets=tuple(targets),
        only=tuple(only),
        reload="--reload" in single,
        wait="--no-wait" not in single,
        log_level=level,
        url=single.get("--url"),
        fleet=single.get("--fleet"),
    )


def start(told: AgentRun) -> None:
    """Run the agents until they end.

    Raises:
        SystemExit: see ``fleetbus.exits``; the cause has been shown.
    """
    configure(told.log_level)
    if told.reload:
        from fleetbus.reload import watch_and_run

        raise SystemExit(run(watch_and_run(told.targets)))
    from fleetbus.targets import load_agents

    try:
        # Outside of any event loop: a module may run one while it is imported.
        agents = load_agents(told.targets, told.only)
    except SettingsError as error:
        raise fail(error) from None
    from agent_runtime.runner import leave_behind, serve

    print(f"starting {', '.join(agent.id for agent in agents)}", flush=True)

    async def serve_all() -> None:
        # Before the event loop is closed, which would wait for what will not stop.
        leave_behind(await serve(agents, url=told.url, fleet=told.fleet, wait=told.wait))

    run(serve_all())
