"""Runs handlers: so many at a time, each to an outcome."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from agent_runtime.delivery import Delivery
from agent_runtime.failures import Clean, error_of, warn
from agent_runtime.held import Held, Stage
from agent_runtime.load import Load
from agent_runtime.outcome import (
    Again,
    Canceled,
    Completed,
    Expired,
    Failed,
    HandedBack,
    Outcome,
    Rejected,
    Retry,
    contained,
)
from agent_runtime.signature import Kind
from agent_runtime.task import Services, Task
from bus.client.options import DEADLINE, TRACE
from bus.errors import BusError, CapabilityError, InvalidInput
from bus.payloads import Payloads
from bus.wire.task import ErrorInfo, TaskState

log = logging.getLogger("fleetbus.agent")

PATIENCE: Final = 2.0
"""Seconds that an interrupted handler is given to clean up when the agent stops."""

_LATE = ErrorInfo("its deadline passed before it completed", "DeadlineExceeded")


class _OutOfTimeError(Exception):
    """The run took longer than it may."""


class Executor:
    """The slots of one agent."""

    def __init__(
        self,
        agent: str,
        load: Load,
        delivery: Delivery,
        payloads: Payloads,
        services: Services,
        on_load: Callable[[], None],
        release: Callable[[Held], None],
        clean: Clean,
    ) -> None:
        """``on_load`` is called when coordinators should hear of the load at once, ``release``
        with a task that turned out not to be ours any more, and ``clean`` with what a handler
        says of its failure."""
        self._agent = agent
        self._load = load
        self._delivery = delivery
        self._payloads = payloads
        self._services = services
        self._on_load = on_load
        self._release = release
        self._clean = clean
        self._queue: deque[Held] = deque()
        self._threads: ThreadPoolExecutor | None = None
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self.lapsed = 0
        """Tasks dropped before they started because the broker had given them away."""
        self.abandoned = 0
        """Handlers that did not end when the agent stopped."""

    def take(self, held: Held) -> None:
        """Run ``held`` now if a slot is free, else when one is. It is counted as queued."""
        if self._load.running < self._load.slots:
            self._start(held)
        else:
            self._queue.append(held)

    def cancel(self, held: Held, reason: str) -> None:
        """End ``held`` as canceled, wherever it is."""
        held.canceled = reason
        if held.stage is Stage.QUEUED:
            if held in self._queue:
                self._queue.remove(held)
                self._load.queued -= 1
                self._load.canceled += 1
                held.stage = Stage.ENDING
                self._delivery.finish(held, Canceled(ErrorInfo(reason, "Canceled")), 0.0)
                self._on_load()
        elif held.stage is Stage.RUNNING and held.runner is not None and held.begun:
            # A task that is cancelled before its first step never runs any of its code, and
            # would never be counted as ended. It looks at held.canceled itself.
            held.runner.cancel()

    def hand_back_queue(self) -> int:
        """Return what has not started to the broker; how many those were."""
        count = len(self._queue)
        while self._queue:
            held = self._queue.popleft()
            self._load.queued -= 1
            held.stage = Stage.ENDING
            self._delivery.finish(held, HandedBack(started=False), 0.0)
        return count

    async def stop(self, held: list[Held]) -> None:
        """Interrupt what runs and hand it back.

        Threads cannot be interrupted, and a handler may refuse to be: ``abandoned`` counts
        those that go on. The ack wait gives their tasks to others.
        """
        self._stopping = True
        self.hand_back_queue()
        runners = [one.runner for one in held if one.runner is not None]
        for one in held:
            if one.runner is not None and one.begun:
                one.runner.cancel()
        if runners:
            _, stubborn = await asyncio.wait(runners, timeout=PATIENCE)
            self.abandoned += len(stubborn)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self.abandoned += sum(1 for one in held if one.thread is not None and one.thread.running())

    # the inside

    def _start(self, held: Held) -> None:
        load = self._load
        load.queued -= 1
        load.running += 1
        held.stage = Stage.RUNNING
        held.runner = self._loop.create_task(self._run(held))

    async def _run(self, held: Held) -> None:
        held.begun = True
        begun = time.monotonic()
        outcome: Outcome | None
        if held.canceled is not None:
            outcome = Canceled(ErrorInfo(held.canceled, "Canceled"))
        elif self._stopping:
            outcome = HandedBack(started=False)
        elif held.ack and begun > held.leased_until:
            # This process was stopped for longer than the ack wait: the task is elsewhere.
            self.lapsed += 1
            outcome = None
        else:
            try:
                outcome = await self._outcome(held)
            except asyncio.CancelledError:
                if held.canceled is not None:
                    outcome = Canceled(ErrorInfo(held.canceled, "Canceled"))
                elif self._stopping:
                    outcome = HandedBack(started=True)
                else:
                    outcome = Again(ErrorInfo("the handler was interrupted", "CancelledError"))
            except Exception as problem:  # whatever it is: the task must end, and free its slot
                outcome = self._failure(held, problem)
        seconds = time.monotonic() - begun
        held.stage = Stage.ENDING
        thread = held.thread
        worked = _worked(outcome)
        if thread is None or thread.done():
            self._free(held.offer.name, seconds, worked)
        else:
            # Its outcome is settled, but the slot is the thread's until that ends.
            thread.add_done_callback(
                lambda _: self._free_from_thread(held.offer.name, begun, worked)
            )
        if outcome is None:
            self._release(held)
            return
        state = self._deliver(held, outcome, seconds)
        if state == "failed":
            self._load.failed += 1
        elif state == "canceled":
            self._load.canceled += 1

    def _free(self, capability: str, seconds: float, worked: bool | None) -> None:
        """A slot is free: give it to the next in the queue."""
        load = self._load
        tell = load.finish(capability, seconds, worked)
        while self._queue and load.running < load.slots and not self._stopping:
            self._start(self._queue.popleft())
        if tell:
            self._on_load()

    def _free_from_thread(self, capability: str, begun: float, worked: bool | None) -> None:
        if not self._loop.is_closed():
            seconds = time.monotonic() - begun
            self._loop.call_soon_threadsafe(self._free, capability, seconds, worked)

    def _deliver(self, held: Held, outcome: Outcome, seconds: float) -> TaskState:
        try:
            return self._delivery.finish(held, outcome, seconds)
        except Exception as problem:  # the slot is free already; let the task go too
            log.error("task %s: its outcome was not delivered: %s", held.id, problem)
            # Held no longer, it is not extended: the broker gives it out again.
            self._release(held)
            return "submitted"

    async def _outcome(self, held: Held) -> Outcome:
        offer = held.offer
        now = time.time()
        if held.deadline and now >= held.deadline:
            return Expired(_LATE)
        try:
            if held.ack and (held.attempt > 1 or held.redelivered):
                await self._delivery.mark_attempt(held, held.attempt)
            data = await self._payloads.get(held.payload) if held.payload else held.data
        except BusError as problem:
            return Again(ErrorInfo(str(problem), type(problem).__name__))
        try:
            arguments = offer.interface.bind(data, held.content_type)
        except InvalidInput as problem:
            # A type of the handler's own may have looked at the configuration.
            rule = self._clean(problem.problem)
            return Rejected(ErrorInfo(rule, "InvalidInput", problem.field))
        TRACE.set(held.trace or held.id)
        limit = offer.timeout
        by_deadline = False
        if held.deadline:
            DEADLINE.set(int(held.deadline * 1000))
            left = held.deadline - now
            by_deadline = limit is None or left <= limit
            limit = left if by_deadline else limit
        try:
            if limit is None:
                value = await self._invoke(held, arguments)
            else:
                value = await self._invoke_within(limit, held, arguments)
            output, content_type = offer.interface.encode(value)
        except _OutOfTimeError:
            # By another clock than the deadline's, which may say that it has not come yet.
            if by_deadline or (held.deadline and time.time() >= held.deadline):
                return Expired(_LATE)
            return Again(ErrorInfo(f"ran longer than its timeout of {limit:g} s", "Timeout"))
        except Retry as request:
            return Again(ErrorInfo(self._clean(request), "Retry"), request.after)
        except CapabilityError as problem:
            return Failed(ErrorInfo(self._clean(problem), "CapabilityError"))
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as problem:  # whatever a handler raises is its outcome
            return self._failure(held, problem)
        return Completed(output, content_type)

    def _failure(self, held: Held, problem: BaseException) -> Outcome:
        error = error_of(problem, self._clean)
        if isinstance(problem, held.offer.retry_on):
            return Again(error)
        said = (held.id, held.offer.name, error.message)
        warn(log, "task %s: %s failed: %s", *said, problem=problem, clean=self._clean)
        return Failed(error)

    async def _invoke_within(self, limit: float, held: Held, arguments: dict[str, Any]) -> Any:
        clock = asyncio.timeout(limit)
        try:
            async with clock:
                return await self._invoke(held, arguments)
        except TimeoutError:
            # A handler may raise TimeoutError for reasons of its own.
            if clock.expired():
                raise _OutOfTimeError from None
            raise

    def _invoke(self, held: Held, arguments: dict[str, Any]) -> Awaitable[Any]:
        """Start the handler; its result is to be awaited."""
        offer = held.offer
        if offer.interface.wants_task:
            task = Task(held, self._agent, self._services, self._loop)
            first: tuple[Any, ...] = (task,)
        else:
            first = ()
        match offer.interface.kind:
            case Kind.ASYNC:
                running: Awaitable[Any] = offer.handler(*first, **arguments)
                return running
            case Kind.SYNC:
                return self._in_thread(held, lambda: offer.handler(*first, **arguments))
            case Kind.STREAM:
                stream: AsyncGenerator[Any, None] = offer.handler(*first, **arguments)
                return self._follow(held, stream)
            case Kind.SYNC_STREAM:
                generator: Generator[Any, None, None] = offer.handler(*first, **arguments)
                task = Task(held, self._agent, self._services, self._loop)
                return self._in_thread(held, lambda: _exhaust(task, generator))

    async def _follow(self, held: Held, stream: AsyncGenerator[Any, None]) -> Any:
        """Each item is progress; the last one is the result."""
        task = Task(held, self._agent, self._services, self._loop)
        last: Any = None
        try:
            async for last in stream:
                task.progress(last)
        finally:
            await stream.aclose()
        return last

    async def _in_thread(self, held: Held, work: Callable[[], Any]) -> Any:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(
                self._load.slots, thread_name_prefix=f"task-{self._agent}"
            )
        context = contextvars.copy_context()
        held.thread = self._threads.submit(context.run, contained, work)
        return await asyncio.wrap_future(held.thread)


def _worked(outcome: Outcome | None) -> bool | None:
    """What a run says of this agent: that it can, that it cannot, or nothing."""
    if isinstance(outcome, Completed):
        return True
    return False if isinstance(outcome, Failed | Again) else None


def _exhaust(task: Task, generator: Generator[Any, None, None]) -> Any:
    last: Any = None
    try:
        for last in generator:
            task.progress(last)
            if task.canceled:
                break
    finally:
        generator.close()
    return last
