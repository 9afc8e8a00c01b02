"""The configuration that is in force: applies new ones, and keeps the last good one."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agent_runtime import callbacks, overrides
from agent_runtime.callbacks import CallbackFailed
from agent_runtime.declared import Declared
from agent_runtime.model import explain
from agent_runtime.overrides import Entries
from agent_runtime.secrets import Redactor, Unresolved, resolve
from bus.config.layers import Effective
from bus.config.merge import merged
from bus.errors import FleetError
from bus.wire.config import ConfigHealth, ConfigReport, Override, Rejection

log = logging.getLogger("fleetbus.agent")

RETRY: Final = (20.0, 40.0)
"""Seconds, between these, until what may be good later, just as it is, is tried again."""


TURN: Final = 4.0
"""Seconds that an operator's override waits for what is being applied: less than he does."""


class ConfigBusy(FleetError):
    """Another configuration is being applied."""

    def __init__(self) -> None:
        super().__init__(
            f"another configuration is being applied for more than {TURN:g} s, a callback takes "
            "its time: try again; nothing was changed"
        )


class ConfigRejected(FleetError):
    """A configuration was not applied. Says why; holds no secrets."""

    def __init__(self, reason: str, passing: bool = False) -> None:
        self.reason = reason
        self.passing = passing
        """It may be good later, just as it is."""
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Target:
    """What the layers on the bus make of this agent, and the commit that they come from."""

    effective: Effective
    commit: str = ""


@dataclass(frozen=True, slots=True)
class InForce:
    """A configuration that was good."""

    target: Target
    overrides: tuple[Override, ...]
    applied_ms: int
    view: Any = field(repr=False)
    secrets: frozenset[str] = field(repr=False)

    @property
    def hash(self) -> str:
        return self.target.effective.hash


class Configuration:
    """Applies what is wanted to one agent, one thing at a time.

    A configuration is good if its secrets resolve, the model takes it, and no callback fails.
    """

    def __init__(
        self,
        agent: str,
        declared: Declared,
        on_change: Callable[[], None],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        """``on_change`` is called when what is reported has changed, and ``on_event`` with kind
        and data of what the fleet should hear. ``agent`` is its id."""
        self.in_force: InForce | None = None
        self.rejection: Rejection | None = None
        self._agent = agent
        self._declared = declared
        self._on_change = on_change
        self._on_event = on_event
        self._callbacks = tuple(declared.callbacks)
        self._wanted: Target
        self._entries: Entries = ()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._worker: asyncio.Task[None] | None = None

    @property
    def state(self) -> ConfigHealth:
        if self.in_force is None:
            return "waiting"
        return "ok" if self.rejection is None else "rejected"

    async def start(self, target: Target) -> None:
        """Apply the first one, and from now on what ``want`` brings."""
        self._declared.forget()
        self._wanted = target
        await self._settle()
        self._worker = asyncio.create_task(self._work(), name="configuration")

    async def stop(self) -> None:
        """Apply nothing more."""
        for timer in self._timers.values():
            timer.cancel()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)

    def want(self, target: Target) -> None:
        """The layers have changed. Of several that come while one is applied the last counts."""
        self._wanted = target
        self._wake.set()

    async def override(self, values: dict[str, Any], ttl: float, by: str) -> tuple[Override, ...]:
        """Lay ``values`` over the configuration for ``ttl`` seconds; those that it made.

        Raises:
            InvalidOverride: there is nothing to set, or too much.
            ConfigRejected: the configuration would be bad; nothing was changed.
            ConfigBusy: another one takes long to be applied; nothing was changed.
        """
        async with self._turn():
            now, now_ms = self._loop.time(), time.time_ns() // 1_000_000
            before = self._alive()
            entries = overrides.laid(before, values, by, ttl, now, now_ms)
            await self._lay(entries)
        return tuple(one.override for one in entries if one not in before)

    async def clear(self, keys: Collection[str]) -> list[str]:
        """End the overrides at or below the dotted ``keys``, all if there are none; the paths of
        those that ended.

        Raises:
            InvalidPath: a key is not a dotted path.
            ConfigBusy: as for ``override``.
            ConfigRejected: the configuration would be bad without them; they stay.
        """
        async with self._turn():
            entries, gone = overrides.cleared(self._alive(), keys)
            if gone:
                await self._lay(entries)
        return gone

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Ours to change, for an operator who does not wait for ever: what he was told has failed
        must not happen afterwards."""
        try:
            async with asyncio.timeout(TURN):
                await self._lock.acquire()
        except TimeoutError:
            raise ConfigBusy from None
        try:
            yield
        finally:
            self._lock.release()

    def report(self, versions: dict[str, str]) -> ConfigReport:
        """What there is to say, with references to secrets as they are."""
        current = self.in_force
        if current is None:
            return ConfigReport("", state="waiting", rejected=self.rejection, versions=versions)
        return ConfigReport(
            hash=current.hash,
            commit=current.target.commit,
            applied_ms=current.applied_ms,
            state=self.state,
            rejected=self.rejection,
            overrides=current.overrides,
            versions=versions,
        )

    # the inside

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._settle()
            except Exception as problem:  # the next one must find somebody to apply it
                # Not exc_info: the message may hold what was resolved.
                where = "".join(traceback.format_tb(problem.__traceback__))
                log.error("%s: configuration: %s\n%s", self._agent, type(problem).__name__, where)

    async def _settle(self) -> None:
        """Apply what is wanted; if it is bad, keep the last good one."""
        async with self._lock:
            entries = self._entries = self._alive()
            wanted, current = self._wanted, self.in_force
            self._plan_expiry()
            if current is not None and _same(current, wanted, entries):
                self.in_force = replace(current, target=wanted)
                self._accepted()
                return
            try:
                await self._try(wanted, entries)
            except ConfigRejected as problem:
                if current is not None and current.hash != wanted.effective.hash:
                    await self._fall_back(current, entries)
                self._rejected(wanted, problem)
            else:
                self._accepted()

    async def _lay(self, entries: Entries) -> None:
        """Apply ``entries`` as the overrides, or change nothing and raise."""
        try:
            await self._try(self._wanted, entries)
            good = True
        except ConfigRejected:
            current = self.in_force
            # They may be meant for the last good one, while what is wanted is bad.
            if current is None or current.hash == self._wanted.effective.hash:
                raise
            await self._try(current.target, entries)
            good = False
        self._entries = entries
        self._plan_expiry()
        if good:
            self._accepted()
        else:
            self._on_change()

    async def _fall_back(self, current: InForce, entries: Entries) -> None:
        """Overrides come and go on the last good configuration, too."""
        if _same(current, current.target, entries):
            return
        try:
            await self._try(current.target, entries)
        except ConfigRejected as problem:
            log.warning("%s: overrides stay as they were: %s", self._agent, problem)

    async def _try(self, target: Target, entries: Entries) -> None:
        """Put ``target`` with ``entries`` in force.

        Raises:
            ConfigRejected: it is bad; what was in force is so still.
        """
        before = self.in_force
        known = before.secrets if before is not None else frozenset[str]()
        values = merged([target.effective.values, *overrides.patches(entries)])
        try:
            resolved = await resolve(values, self._declared.resolvers)
        except Unresolved as problem:
            raise ConfigRejected(Redactor(known)(problem), passing=True) from None
        clean = Redactor(resolved.secrets | known)
        first = before is None
        old = None if before is None else before.view
        try:
            view = self._declared.model.make(resolved.values)
            calls = callbacks.due(self._callbacks, view, old, first)
        except Exception as problem:  # a model may run code of its own
            raise ConfigRejected(explain(problem, clean)) from None
        try:
            await callbacks.run(calls, clean, first)
        except CallbackFailed as problem:
            raise ConfigRejected(str(problem), problem.passing) from None
        laid = tuple(one.override for one in entries)
        now_ms = time.time_ns() // 1_000_000
        self.in_force = InForce(target, laid, now_ms, view, resolved.secrets)
        self._declared.view, self._declared.redactor = view, clean

    def _accepted(self) -> None:
        self._cancel("retry")
        rejection, self.rejection = self.rejection, None
        if rejection is not None and self.in_force is not None:
            log.info("%s: the configuration is good again", self._agent)
            commit = self.in_force.target.commit
            self._on_event("config.accepted", {"hash": self.in_force.hash, "commit": commit})
        self._on_change()

    def _rejected(self, target: Target, problem: ConfigRejected) -> None:
        before = self.rejection
        hash_ = target.effective.hash
        again = before is not None and (before.hash, before.reason) == (hash_, problem.reason)
        at_ms = before.at_ms if before is not None and again else time.time_ns() // 1_000_000
        self.rejection = Rejection(hash_, problem.reason, target.commit, at_ms)
        self._cancel("retry")
        if problem.passing:
            delay = random.uniform(*RETRY)
            self._timers["retry"] = self._loop.call_later(delay, self._wake.set)
        if not again:
            rest = "the last good one stays in force"
            if self.in_force is None:
                rest = "no tasks are taken until one is good"
            log.warning("%s: configuration %s: %s; %s", self._agent, hash_, problem, rest)
            data = {"hash": hash_, "commit": target.commit, "reason": problem.reason}
            self._on_event("config.rejected", data)
        self._on_change()

    def _alive(self) -> Entries:
        return overrides.alive(self._entries, self._loop.time())

    def _plan_expiry(self) -> None:
        self._cancel("expiry")
        if self._entries:
            first = min(one.ends for one in self._entries)
            self._timers["expiry"] = self._loop.call_at(first, self._wake.set)

    def _cancel(self, timer: str) -> None:
        if (planned := self._timers.pop(timer, None)) is not None:
            planned.cancel()


def _same(current: InForce, target: Target, entries: Entries) -> bool:
    return current.hash == target.effective.hash and current.overrides == tuple(
        one.override for one in entries
    )
