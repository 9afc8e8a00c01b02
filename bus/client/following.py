"""Following submitted tasks to their results: by what is announced, and by what is stored."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from nats.aio.subscription import Subscription

from bus import codec, store
from bus.background import Background
from bus.client.stored import StoredTasks
from bus.connection import Bus
from bus.errors import BusError, DecodeError, Disconnected, TaskTimeout
from bus.transport import Inbound
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo, Progress

if TYPE_CHECKING:
    from bus.client.handle import TaskHandle

log = logging.getLogger("fleetbus.client")

LOOKUPS: Final = 64
"""Results that are looked up at a time after a reconnect."""

LOOKUP_PAUSE: Final = 1.0
"""Seconds before a result is looked up again that could not be."""

READ_TRIES: Final = 5
"""How often a big output is fetched before its waiter is told that it cannot be."""

EXPIRY_GRACE: Final = 0.5
"""Seconds past the deadline before a client that waits writes ``expired`` itself."""


class Following:
    """The tasks of one client that have not ended yet, as far as it knows."""

    def __init__(self, bus: Bus, client: str, stored: StoredTasks) -> None:
        self._bus = bus
        self._client = client
        self._stored = stored
        self._handles: dict[str, TaskHandle] = {}
        self._done_prefix = len(f"{bus.subjects.root}.done.")
        self._twins: dict[str, list[TaskHandle]] = {}
        """Further handles of tasks that were submitted here more than once, by their key."""
        self._background = Background(log, "following tasks")
        self._subscriptions: list[Subscription] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._bus.loop

    async def start(self) -> None:
        """Subscribe to this client's results and progress."""
        subjects = self._bus.subjects
        for subject, handler in (
            (subjects.done_of(self._client), self._on_done),
            (subjects.progress_of(self._client), self._on_progress),
        ):
            self._subscriptions.append(await self._bus.listen(subject, handler))
        self._bus.reconnected.append(self._catch_up)

    async def stop(self) -> None:
        """Follow no task any more; whoever still waits for one is told. The tasks go on."""
        self._bus.reconnected.remove(self._catch_up)
        await self._background.cancel()
        for task_id in list(self._handles):
            for handle in self._take(task_id):
                handle.fail(Disconnected(f"the client was closed before task {task_id} ended"))
        # The bus may be another's too, and outlive this client.
        while self._subscriptions:
            await self._bus.unlisten(self._subscriptions.pop())
        await self._background.settled()

    def register(self, handle: TaskHandle) -> None:
        """From now on it is told what is announced of its task."""
        if handle.id in self._handles:
            # The same key, submitted here before.
            self._twins.setdefault(handle.id, []).append(handle)
        else:
            self._handles[handle.id] = handle

    async def listen(self, handle: TaskHandle) -> None:
        """Subscribe to a task whose id is not one of this client's."""
        subjects = self._bus.subjects
        followed = [await self._bus.listen(subjects.done(handle.id), self._on_done)]
        if self._handles.get(handle.id) is handle:
            progress = subjects.progress(handle.id)
            followed.append(await self._bus.listen(progress, self._on_progress))

        async def unfollow() -> None:
            for subscription in followed:
                await self._bus.unlisten(subscription)

        handle.finished.add_done_callback(lambda _: self._background.spawn(unfollow()))

    def abandon(self, handle: TaskHandle) -> None:
        """Follow a task no more: it was not submitted after all."""
        twins = self._twins.get(handle.id, [])
        if handle in twins:
            twins.remove(handle)
        elif self._handles.get(handle.id) is handle:
            del self._handles[handle.id]
            if twins:
                self._handles[handle.id] = twins.pop(0)
        handle.finished.cancel()

    async def wait(self, handle: TaskHandle, timeout: float | None) -> None:
        """Return when ``handle`` has its result.

        Raises:
            TaskTimeout: not within ``timeout`` seconds.
        """
        if timeout is None and not handle.deadline:
            await handle.ended()
            return
        until = None if timeout is None else time.monotonic() + timeout
        while not handle.finished.done():
            left = None if until is None else until - time.monotonic()
            pause = left
            if handle.deadline:
                overdue = handle.deadline / 1000 + EXPIRY_GRACE - time.time()
                pause = overdue if left is None else min(left, overdue)
            if pause is None or pause > 0:
                await asyncio.wait((handle.finished,), timeout=pause)
                if handle.finished.done():
                    return
            if left is not None and until is not None and until <= time.monotonic():
                # The announcement is sent once; the stored result is the truth.
                result = await self._stored.result(handle.id)
                if result is not None:
                    self.settle(result)
                    handle.settle(result)
                    return
                raise TaskTimeout(handle.id, f"no result within {timeout:g} s; it goes on")
            if handle.deadline and handle.deadline / 1000 + EXPIRY_GRACE <= time.time():
                await self._expire(handle)

    def settle(self, result: Result) -> None:
        """Tell all who wait for this result."""
        for handle in self._take(result.task):
            handle.settle(result)

    # the inside

    async def _expire(self, handle: TaskHandle) -> None:
        error = ErrorInfo("its deadline passed before it completed")
        await self._stored.conclude(Result(task=handle.id, state="expired", error=error))
        result = await self._stored.result(handle.id)
        if result is not None:
            self.settle(result)
            handle.settle(result)

    def _take(self, task_id: str) -> list[TaskHandle]:
        """Those who wait for a task; nobody will tell them twice."""
        first = self._handles.pop(task_id, None)
        return [] if first is None else [first, *self._twins.pop(task_id, ())]

    def _on_done(self, message: Inbound) -> None:
        task_id = message.subject[self._done_prefix :]
        if task_id not in self._handles:
            return
        try:
            result = results.read(task_id, message.block, message.data)
        except DecodeError:
            # Anybody may have said so. What is stored counts.
            self._background.spawn(self._look_up(task_id))
            raise
        if result.payload:
            self._background.spawn(self._look_up(task_id))
        else:
            self.settle(result)

    def _on_progress(self, message: Inbound) -> None:
        client, seq = message.subject.rsplit(".", 2)[1:]
        task_id = f"{client}.{seq}"
        handle = self._handles.get(task_id)
        if handle is not None:
            progress = codec.decode(Progress, message.data, "progress")
            handle.advance(progress)
            for twin in self._twins.get(task_id, ()):
                twin.advance(progress)

    def _catch_up(self) -> None:
        """What was announced while the connection was down is looked up."""
        if self._handles:
            self._background.spawn(self._look_up_all())

    async def _look_up_all(self) -> None:
        waiting = list(self._handles)
        generation = self._bus.generation
        for start in range(0, len(waiting), LOOKUPS):
            if self._bus.generation != generation:
                return  # another reconnect has begun this anew
            await asyncio.gather(*map(self._look_up, waiting[start : start + LOOKUPS]))

    async def _look_up(self, task_id: str) -> None:
        """Settle a task from what is stored, however long it takes to learn that."""
        subjects = self._bus.subjects
        tries = 0
        while task_id in self._handles:
            try:
                message = await store.last(
                    self._bus, subjects.results_stream, subjects.result(task_id)
                )
            except (BusError, TimeoutError) as problem:
                log.debug("task %s is looked up again: %s", task_id, problem)
                await asyncio.sleep(LOOKUP_PAUSE)
                continue
            if message is None:
                return
            try:
                self.settle(
                    await self._stored.read(results.read(task_id, message.block, message.data))
                )
            except Exception as problem:  # the waiter must hear of any failure
                tries += 1
                if isinstance(problem, BusError) and tries < READ_TRIES:
                    await asyncio.sleep(LOOKUP_PAUSE)
                    continue
                for handle in self._take(task_id):
                    handle.fail(problem)
