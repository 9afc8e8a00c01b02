"""From ``module:agent`` or ``path.py:agent`` to the agents that they name."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from agent_runtime import Agent
from bus.errors import SettingsError

log = logging.getLogger("fleetbus.agent")


def load_agents(targets: Iterable[str], only: Iterable[str] = ()) -> list[Agent]:
    """The agents that ``targets`` name, with different ids.

    A target is ``module:name`` or ``path.py:name``; without ``:name`` it is ``:agent``. What
    it names is an Agent, an iterable of them, or a function without arguments that returns
    either. ``only``, if not empty, keeps the agents with these ids.

    Raises:
        SettingsError: naming the target, and what is wrong with it.
    """
    found: dict[str, str] = {}
    agents: list[Agent] = []
    modules: dict[str, ModuleType] = {}
    for target in targets:
        place, name = _split(target)
        if place not in modules:
            modules[place] = _module(target, place)
        for agent in _agents(target, _attribute(target, modules[place], name)):
            if agent.id in found:
                raise SettingsError(
                    f"target {target}",
                    f"agent id {agent.id!r} is that of an agent of {found[agent.id]} too: "
                    "ids must differ",
                )
            found[agent.id] = target
            agents.append(agent)
    wanted = set(only)
    missing = sorted(wanted - set(found))
    if missing:
        raise SettingsError(
            f"option --only {missing[0]}", f"no such agent; there are {', '.join(sorted(found))}"
        )
    return [agent for agent in agents if not wanted or agent.id in wanted]


def source_of(target: str) -> Path | None:
    """The file of a ``path.py:name`` target, None for a module."""
    place = _split(target)[0]
    return Path(place).expanduser().resolve() if _is_path(place) else None


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    if not colon or name.endswith(".py") or "/" in name:
        # No name given; the colon, if any, belongs to the path.
        place, name = target, "agent"
    if not place or not all(part.isidentifier() for part in name.split(".")):
        raise SettingsError(f"target {target!r}", "write module:name or path.py:name")
    return place, name


def _is_path(place: str) -> bool:
    return place.endswith(".py") or "/" in place


def _module(target: str, place: str) -> ModuleType:
    if _is_path(place):
        return _from_file(target, Path(place).expanduser().resolve())
    here = str(Path.cwd())
    if here not in sys.path:
        # As ``python -m`` does; the script ``fleetbus`` has its own directory there instead.
        sys.path.insert(0, here)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{place}.".startswith(f"{error.name}."):
            raise SettingsError(
                f"target {target}", f"there is no module {error.name!r} in {here} or installed"
            ) from None
        raise _broken(target, error) from error
    except Exception as error:  # whatever a module does when it is imported
        raise _broken(target, error) from error


def _from_file(target: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise SettingsError(f"target {target}", f"there is no file {path}")
    # As Python does for a script, so that it can import its neighbours.
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = path.stem if path.stem not in sys.modules else f"fleetbus_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"target {target}", f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Annotations are looked up there when a capability's types are read.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a module does when it is imported
        del sys.modules[name]
        raise _broken(target, error) from error
    return module


def _broken(target: str, error: Exception) -> SettingsError:
    log.debug("importing %s failed", target, exc_info=error)
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
        return SettingsError(f"target {target}", f"{where}: {error.msg}")
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).resolve())
    theirs = [f for f in frames if f.filename != ours and "importlib" not in f.filename]
    where = f"{theirs[-1].filename}, line {theirs[-1].lineno}: " if theirs else ""
    return SettingsError(f"target {target}", f"{where}{type(error).__name__}: {error}")


def _attribute(target: str, module: ModuleType, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            agents = sorted(k for k, v in vars(module).items() if isinstance(v, Agent))
            seen = f"; its agents are called {', '.join(agents)}" if agents else ""
            raise SettingsError(
                f"target {target}", f"{module.__name__} has no {name!r}{seen}"
            ) from None
    return value


def _agents(target: str, value: Any) -> list[Agent]:
    if callable(value) and not isinstance(value, Agent):
        try:
            value = value()
        except Exception as error:  # whatever a factory does
            raise _broken(target, error) from error
    if inspect.iscoroutine(value):
        value.close()
        raise SettingsError(f"target {target}", "is an async function: make it a plain one")
    if isinstance(value, Agent):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        found = list(value)
        if found and all(isinstance(one, Agent) for one in found):
            return found
    raise SettingsError(
        f"target {target}",
        f"is a {type(value).__name__}, not an Agent, a list of Agents, or a function without "
        "arguments that returns one",
    )
