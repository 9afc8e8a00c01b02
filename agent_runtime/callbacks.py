"""Functions that are called when the configuration changes, and called back if it must not."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from agent_runtime.calling import StillRunningError, TookTooLongError, bounded, check
from agent_runtime.model import explain
from bus.config import paths
from bus.errors import CapabilityError, FleetError

log = logging.getLogger("fleetbus.agent")

TIME: Final = 30.0
"""Seconds that one callback may take."""


class CallbackFailed(FleetError):
    """A callback refused a configuration. Holds no secrets."""

    def __init__(self, reason: str, passing: bool = False) -> None:
        self.passing = passing
        """It may take it later, just as it is."""
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Callback:
    """A function of the user's, for changes at one path."""

    path: paths.Path
    function: Callable[[Any, Any], Any]

    def __str__(self) -> str:
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"{name} for {paths.shown(self.path) or 'any change'}"


@dataclass(frozen=True, slots=True)
class Call:
    """A callback that is due, with what it is to be told. Not to be shown."""

    callback: Callback
    new: Any = field(repr=False)
    old: Any = field(repr=False)


def path_of(key: str, agent: str) -> paths.Path:
    """What a dotted ``key`` stands for; empty for the whole configuration.

    Raises:
        CapabilityError: it is a function: the brackets of the decorator were forgotten.
        InvalidPath: it is no dotted path.
    """
    if not isinstance(key, str):
        raise CapabilityError(
            f"agent {agent}: write @agent.on_config() with brackets, or with a key: "
            '@agent.on_config("llm.model")'
        )
    return paths.parse(key) if key else ()


def callback(function: Callable[[Any, Any], Any], path: paths.Path, agent: str) -> Callback:
    """Make ``function`` a callback for what is at ``path``.

    Raises:
        CapabilityError: it cannot be called with two values.
    """
    made = Callback(path, function)
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        raise CapabilityError(
            f"agent {agent}: {made}: a callback takes two values, (new, old)"
        ) from None
    return made


def due(callbacks: Iterable[Callback], new: Any, old: Any, first: bool) -> list[Call]:
    """The calls that a change from ``old`` to ``new`` asks for; all of them at ``first``."""
    calls = []
    for one in callbacks:
        after = _at(new, one.path)
        before = None if first else _at(old, one.path)
        if first or _differ(after, before):
            calls.append(Call(one, after, before))
    return calls


async def run(calls: Iterable[Call], clean: Callable[[object], str], first: bool) -> None:
    """Make the calls, one after the other. If one fails those before it are called back, the
    last first; but not at ``first``, when there is nothing to go back to.

    Raises:
        CallbackFailed: one of them did.
    """
    calls, made = list(calls), list[Call]()
    for call in calls:
        # Before any is called: they would all be called back.
        try:
            check(call.callback.function)
        except StillRunningError as problem:
            raise CallbackFailed(f"callback {call.callback}: {problem}", passing=True) from None
    for call in calls:
        try:
            await bounded(call.callback.function, call.new, call.old, seconds=TIME)
        except Exception as problem:  # a callback may raise anything
            reason = f"callback {call.callback}: {_why(problem, clean)}"
            _show(problem, clean)
            if not first:
                await _back(made, clean)
            raise CallbackFailed(reason) from None
        made.append(call)


async def _back(made: list[Call], clean: Callable[[object], str]) -> None:
    for call in reversed(made):
        try:
            await bounded(call.callback.function, call.old, call.new, seconds=TIME)
        except Exception as problem:  # the others are to be called back all the same
            log.error(
                "callback %s could not be called back: %s", call.callback, _why(problem, clean)
            )
            _show(problem, clean)


def _why(problem: Exception, clean: Callable[[object], str]) -> str:
    return str(problem) if isinstance(problem, TookTooLongError) else explain(problem, clean)


def _show(problem: Exception, clean: Callable[[object], str]) -> None:
    """Where it failed. Never as ``exc_info``: that would write the message as it is."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("%s", clean("".join(traceback.format_exception(problem))))


def _at(view: Any, path: paths.Path) -> Any:
    found = paths.find(view, path)
    return None if found is paths.MISSING else found


def _differ(new: Any, old: Any) -> bool:
    if new is old:
        return False
    try:
        return bool(new != old)
    except Exception:  # values of the user's own types: a call too many does no harm
        return True
