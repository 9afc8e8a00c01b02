"""Submitting durable tasks, and following them to their results."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable
from typing import Any, Final, Unpack

import msgspec
from nats.aio.subscription import Subscription

from bus import codec, store
from bus.background import Background
from bus.client import registry, schedules
from bus.client.handle import TaskHandle
from bus.client.options import (
    TaskOptions,
    deadline_ms,
    encode_input,
    header_fields,
    priority_token,
)
from bus.connection import ApiError, Bus
from bus.errors import (
    BusError,
    DecodeError,
    Disconnected,
    NoAgent,
    QueueFull,
    TaskNotFound,
    TaskTimeout,
)
from bus.payloads import Payloads
from bus.subjects import task_tokens, token
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo, Progress, TaskState

log = logging.getLogger("fleetbus.client")

KEYED: Final = "key"
"""First token of the id of a task that has an idempotency key; the second is its hash."""

FULL: Final = frozenset((10047, 10077, 10122))
"""JetStream's ways to say that a stream has no room: store, messages or bytes."""

LOOKUPS: Final = 64
"""Results that are looked up at a time after a reconnect."""

LOOKUP_PAUSE: Final = 1.0
"""Seconds before a result is looked up again that could not be."""

READ_TRIES: Final = 5
"""How often a big output is fetched before its waiter is told that it cannot be."""

EXPIRY_GRACE: Final = 0.5
"""Seconds past the deadline before a client that waits writes ``expired`` itself."""


class Tasks:
    """The task side of a client."""

    def __init__(self, bus: Bus, client: str) -> None:
        self.client = token("client", client)
        self.payloads = Payloads(bus)
        self._bus = bus
        self._seq = 0
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
            (subjects.done_of(self.client), self._on_done),
            (subjects.progress_of(self.client), self._on_progress),
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

    async def submit(
        self, capability: str, value: Any = None, **options: Unpack[TaskOptions]
    ) -> TaskHandle:
        """Submit one task; return once the broker has stored it.

        Args:
            capability: what is to be done.
            value: the input; bytes travel as they are, anything else as JSON. A mapping gives
                the handler's parameters by name.
            **options: see ``TaskOptions``.

        Raises:
            QueueFull: the broker has no room for another task.
            NoAgent: ``require_agent`` was given and no agent offers the capability.
            TaskRejected, InvalidSelector, InvalidName: an argument is out of its range.
            TopologyMissing: this fleet does not exist here.
            Disconnected: the broker could not be reached; the task may have been stored, and
                submitting again with the same ``key`` is safe.
        """
        handle, subject, data, block = await self._prepare(capability, value, options)
        try:
            if options.get("key"):
                # In this order: an end between the two is seen.
                await self._follow(handle)
                earlier = await self._result(handle.id)
                if earlier is not None:
                    self._settle(earlier)
                    return handle
            answer = await self._bus.ask(subject, data, block)
            if answer is None or answer.block or b'"error"' in answer.data:
                await self._store(handle.id, subject, data, block, answer)
        except BaseException:
            self.abandon(handle)
            raise
        return handle

    async def submit_many(
        self,
        capability: str,
        values: Iterable[Any],
        *,
        outstanding: int = 512,
        **options: Unpack[TaskOptions],
    ) -> list[TaskHandle]:
        """Submit many tasks, ``outstanding`` of them on their way at a time.

        Returns their handles in order, once all are stored.

        Raises:
            As for ``submit``, the first one met; the tasks before it are stored.
        """
        room = asyncio.Semaphore(outstanding)
        handles: list[asyncio.Task[TaskHandle]] = []

        async def one(value: Any) -> TaskHandle:
            try:
                return await self.submit(capability, value, **options)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                for value in values:
                    await room.acquire()
                    handles.append(group.create_task(one(value)))
        except ExceptionGroup as failed:
            # Not except*: some Pythons wrap what is raised there in a group again.
            raise _first(failed) from None
        return [task.result() for task in handles]

    async def get(self, task_id: str) -> Result | TaskState:
        """The result of a task, or ``submitted`` while it has none.

        Raises:
            TaskNotFound: neither a task nor a result has this id.
            InvalidName: that is not a task id.
        """
        task_tokens(task_id)
        result = await self._result(task_id)
        if result is not None:
            return result
        if await self._stored(task_id) is None:
            # It may have ended between the two looks.
            result = await self._result(task_id)
            if result is None:
                raise TaskNotFound(task_id, "neither a task nor a result with this id is kept")
            return result
        return "submitted"

    async def cancel(self, task_id: str, capability: str = "", reason: str = "") -> bool:
        """End a task as ``canceled``; True if that is how it ended.

        The result is written first, under the same rule as any result: whoever is first wins.
        Then the task is taken out of the queue and the agent that holds it is told.

        Raises:
            TaskNotFound: neither a task nor a result has this id.
            InvalidName: that is not a task id.
        """
        task_tokens(task_id)
        subjects = self._bus.subjects
        scheduled = await schedules.find(self._bus, task_id)
        if scheduled is not None and not scheduled.at_ms:
            # Not a task itself: those that it has submitted have ids of their own.
            await schedules.purge(self._bus, task_id)
            return True
        if not capability:
            stored = await self._stored(task_id)
            if stored is None and await self._result(task_id) is None:
                raise TaskNotFound(task_id, "neither a task nor a result with this id is kept")
            capability = stored or "*"
        message = ErrorInfo(reason or f"canceled by {self.client}")
        won = await self._conclude(Result(task=task_id, state="canceled", error=message))
        if not won:
            # It may be our own that is there, stored when the answer was lost on the way.
            first = await self._result(task_id)
            won = first is not None and first.state == "canceled" and first.error == message
        if scheduled is not None:
            await schedules.purge(self._bus, task_id)
        await self._bus.api(
            f"STREAM.PURGE.{subjects.tasks_stream}", {"filter": subjects.task_anywhere(task_id)}
        )
        if capability != "*":
            self._bus.send(subjects.cancel(capability, task_id), codec.encode(message))
        return won

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
                result = await self._result(handle.id)
                if result is not None:
                    self._settle(result)
                    handle.settle(result)
                    return
                raise TaskTimeout(handle.id, f"no result within {timeout:g} s; it goes on")
            if handle.deadline and handle.deadline / 1000 + EXPIRY_GRACE <= time.time():
                await self._expire(handle)

    def new_id(self, capability: str, key: str = "") -> str:
        """The id of a task that is about to be submitted: for one ``key`` always the same."""
        if key:
            digest = hashlib.sha256(f"{capability}\0{key}".encode()).hexdigest()
            return f"{KEYED}.{digest[:40]}"
        self._seq += 1
        return f"{self.client}.{self._seq}"

    async def adopt(self, handle: TaskHandle) -> None:
        """Follow a task that somebody else submits: settle its handle if it has ended."""
        self._register(handle)
        if handle.id.partition(".")[0] != self.client:
            await self._follow(handle)
            earlier = await self._result(handle.id)
            if earlier is not None:
                self._settle(earlier)

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

    # the inside

    async def _prepare(
        self, capability: str, value: Any, options: TaskOptions
    ) -> tuple[TaskHandle, str, bytes, bytes]:
        token("capability", capability)
        priority = priority_token(options)
        data, content_type = encode_input(value, options.get("content_type"))
        fields = header_fields(options, content_type)
        task_id = self.new_id(capability, options.get("key", ""))
        if options.get("require_agent"):
            await self._require_agent(task_id, capability, options.get("select", ""))
        fields.append((h.MSG_ID, task_id))
        if options.get("key"):
            # Otherwise the id itself begins with the caller's name.
            fields.append((h.CALLER, self.client))
        if self.payloads.too_big(data):
            name = await self.payloads.put(f"in-{task_id}", data)
            fields.append((h.PAYLOAD, name))
            data = b""
        handle = TaskHandle(self, task_id, capability, deadline_ms(options))
        self._register(handle)
        subject = self._bus.subjects.task(capability, priority, task_id)
        return handle, subject, data, h.encode(fields)

    def _register(self, handle: TaskHandle) -> None:
        if handle.id in self._handles:
            # The same key, submitted here before.
            self._twins.setdefault(handle.id, []).append(handle)
        else:
            self._handles[handle.id] = handle

    async def _follow(self, handle: TaskHandle) -> None:
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

    async def _require_agent(self, task_id: str, capability: str, select: str) -> None:
        if not await registry.offers(self._bus, capability, select):
            where = f" that matches {select!r}" if select else ""
            raise NoAgent(task_id, f"no agent{where} offers {capability!r} now")

    async def _store(
        self, task_id: str, subject: str, data: bytes, block: bytes, answer: Inbound | None
    ) -> None:
        """See to it that a task is stored whose first ``answer`` did not say that it is."""
        try:
            if answer is None or answer.status:
                await store.publish(self._bus, subject, data, block)
            else:
                store.acknowledgement(self._bus, subject, answer)
        except ApiError as error:
            if error.code in FULL:
                raise QueueFull(
                    task_id, "the task queue is full; nothing was stored, try again later"
                ) from None
            raise

    async def _result(self, task_id: str) -> Result | None:
        subjects = self._bus.subjects
        message = await store.last(self._bus, subjects.results_stream, subjects.result(task_id))
        if message is None:
            return None
        return await self._read(results.read(task_id, message.block, message.data))

    async def _read(self, result: Result) -> Result:
        """Fetch an output that was too big for the message."""
        if not result.payload:
            return result
        data = await self.payloads.get(result.payload)
        return msgspec.structs.replace(result, output=data, payload="")

    async def _stored(self, task_id: str) -> str | None:
        """The capability of a task that waits, is held or is scheduled, or None."""
        subjects = self._bus.subjects
        async for message in store.scan(
            self._bus, subjects.tasks_stream, subjects.task_anywhere(task_id), batch=1
        ):
            return subjects.parse_task(message.headers["Nats-Subject"])[0]
        return await schedules.capability_of(self._bus, task_id)

    async def _conclude(self, result: Result) -> bool:
        """Write a terminal result; False if there was one already."""
        block = results.encode(result, once=True)
        try:
            await store.publish(
                self._bus, self._bus.subjects.result(result.task), result.output, block
            )
        except ApiError as error:
            if error.code == ApiError.WRONG_LAST_SEQUENCE:
                return False
            raise
        return True

    async def _expire(self, handle: TaskHandle) -> None:
        error = ErrorInfo("its deadline passed before it completed")
        await self._conclude(Result(task=handle.id, state="expired", error=error))
        result = await self._result(handle.id)
        if result is not None:
            self._settle(result)
            handle.settle(result)

    def _settle(self, result: Result) -> None:
        for handle in self._take(result.task):
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
            self._settle(result)

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
                self._settle(await self._read(results.read(task_id, message.block, message.data)))
            except Exception as problem:  # the waiter must hear of any failure
                tries += 1
                if isinstance(problem, BusError) and tries < READ_TRIES:
                    await asyncio.sleep(LOOKUP_PAUSE)
                    continue
                for handle in self._take(task_id):
                    handle.fail(problem)


def _first(failed: ExceptionGroup[Exception]) -> Exception:
    found: Exception = failed
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
