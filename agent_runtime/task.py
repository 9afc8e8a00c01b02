"""What a handler is given beside its input."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, Unpack

from agent_runtime.returns import to_json
from bus.client.options import root_trace
from bus.wire.task import Progress

if TYPE_CHECKING:
    from agent_runtime.held import Held
    from bus.client.handle import TaskHandle
    from bus.client.options import TaskOptions


T = TypeVar("T")

MAX_USAGE: Final = 32
MAX_USAGE_NAME: Final = 64


class Services(Protocol):
    """What the runtime does for a handler."""

    def publish_progress(self, held: Held, progress: bytes) -> None: ...

    async def submit(
        self, capability: str, value: Any, **options: Unpack[TaskOptions]
    ) -> TaskHandle: ...

    async def call(
        self, capability: str, value: Any, timeout: float, **options: Unpack[TaskOptions]
    ) -> Any: ...


class Task:
    """The task that a handler is working on. Safe to use from the handler's own thread."""

    def __init__(
        self, held: Held, agent: str, services: Services, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._held = held
        self._services = services
        self._loop = loop
        self._home = threading.get_ident()
        self._sent = 0
        self.agent = agent
        """Id of the agent that runs it."""

    def __repr__(self) -> str:
        return f"<Task {self.id} attempt {self.attempt}>"

    @property
    def id(self) -> str:
        return self._held.id

    @property
    def capability(self) -> str:
        return self._held.offer.name

    @property
    def attempt(self) -> int:
        """1 the first time a handler is started for it."""
        return self._held.attempt

    @property
    def max_attempts(self) -> int:
        return self._held.max_attempts

    @property
    def caller(self) -> str:
        """The client that submitted it, as it named itself."""
        return self._held.caller

    @property
    def headers(self) -> dict[str, str]:
        """The caller's own headers."""
        ours = ("fleet-", "nats-", "content-type", "traceparent", "status")
        return {k: v for k, v in self._held.headers.items() if not k.lower().startswith(ours)}

    @property
    def traceparent(self) -> str:
        """W3C trace context of the task: the one that it came with, or its own if it is the
        first of a trace."""
        return self._held.trace or root_trace(self._held.id)

    @property
    def deadline(self) -> float | None:
        """Unix time in seconds after which nobody wants the result."""
        return self._held.deadline or None

    @property
    def time_left(self) -> float | None:
        """Seconds to the deadline, None if there is none."""
        return self._held.deadline - time.time() if self._held.deadline else None

    @property
    def canceled(self) -> bool:
        """True once somebody canceled it. Async handlers are interrupted; a plain function
        has to look here now and then."""
        return self._held.canceled is not None

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines name the task."""
        return _TaskLog(logging.getLogger(f"fleetbus.task.{self.capability}"), {"task": self.id})

    def progress(
        self, value: Any = None, *, message: str = "", fraction: float | None = None
    ) -> None:
        """Tell whoever follows the task. Best effort, not stored.

        Args:
            value: any JSON value, a partial output for example.
            message: for people.
            fraction: 0 to 1.

        Raises:
            TypeError: ``value`` cannot be JSON.
        """
        self._sent += 1
        progress = Progress(
            agent=self.agent,
            attempt=self.attempt,
            seq=self._sent,
            value=value,
            message=message,
            fraction=-1.0 if fraction is None else fraction,
        )
        try:
            data = to_json(progress)
        except (TypeError, ValueError, RecursionError) as problem:
            raise TypeError(f"progress of task {self.id} cannot be JSON: {problem}") from None
        self._at_home(lambda: self._services.publish_progress(self._held, data))

    def usage(self, **amounts: float) -> None:
        """Add to what the task has used (``tokens=812, cost=0.004``); travels on the result.

        Raises:
            ValueError: more than 32 names, or one that is longer than 64 characters. They
                travel in a header, which is bounded.
        """
        used = self._held.usage
        for name, amount in amounts.items():
            if name not in used and (len(used) >= MAX_USAGE or len(name) > MAX_USAGE_NAME):
                raise ValueError(
                    f"usage {name[:80]!r}: at most {MAX_USAGE} names of {MAX_USAGE_NAME} characters"
                )
            total = used.get(name, 0) + amount
            # Other numbers (Fraction, NumPy's) have no JSON form and would hold up the result.
            used[name] = total if type(total) in (int, float) else float(total)

    async def submit(
        self, capability: str, value: Any = None, **options: Unpack[TaskOptions]
    ) -> TaskHandle:
        """Submit another task; see ``Client.submit``. Trace and deadline are inherited."""
        return await self._services.submit(capability, value, **options)

    async def call(
        self,
        capability: str,
        value: Any = None,
        *,
        timeout: float = 10.0,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Call another capability; see ``Client.call``. Trace and deadline are inherited."""
        return await self._services.call(capability, value, timeout, **options)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine from a plain function's thread: ``task.run(task.call(…))``.

        Raises:
            RuntimeError: called on the event loop, which it would block for ever: await it.
        """
        if threading.get_ident() == self._home:
            work.close()
            raise RuntimeError("Task.run is for plain functions: await the coroutine instead")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _at_home(self, do: Callable[[], None]) -> None:
        """Run ``do`` on the event loop: a plain function's handler is in another thread."""
        if threading.get_ident() == self._home:
            do()
        else:
            self._loop.call_soon_threadsafe(do)


class _TaskLog(logging.LoggerAdapter[logging.Logger]):
    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        task = self.extra["task"] if self.extra else "?"
        kwargs["extra"] = {**kwargs.get("extra", {}), "task": task}
        return f"[{task}] {msg}", kwargs
