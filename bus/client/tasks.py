"""Submitting durable tasks, asking after them, canceling them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from typing import Any, Final, Unpack

from bus import codec, store
from bus.client import registry, schedules
from bus.client.following import Following
from bus.client.handle import TaskHandle
from bus.client.options import (
    TaskOptions,
    deadline_ms,
    encode_input,
    header_fields,
    priority_token,
)
from bus.client.stored import StoredTasks
from bus.connection import ApiError, Bus
from bus.errors import NoAgent, QueueFull, TaskNotFound
from bus.payloads import Payloads
from bus.subjects import task_tokens, token
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.task import ErrorInfo, TaskState

KEYED: Final = "key"
"""First token of the id of a task that has an idempotency key; the second is its hash."""


class Tasks:
    """The task side of a client."""

    def __init__(self, bus: Bus, client: str) -> None:
        """``client``: the first half of the ids of its tasks; nobody else's."""
        self.client = token("client", client)
        self.payloads = Payloads(bus)
        self._bus = bus
        self._seq = 0
        self._stored = StoredTasks(bus, self.payloads)
        self.following = Following(bus, self.client, self._stored)

    async def start(self) -> None:
        """Subscribe to this client's results and progress."""
        await self.following.start()

    async def stop(self) -> None:
        """Follow no task any more; whoever still waits for one is told. The tasks go on."""
        await self.following.stop()

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
                await self.following.listen(handle)
                earlier = await store.patiently(
                    lambda: self._stored.result(handle.id), f"task {handle.id} was not looked up"
                )
                if earlier is not None:
                    self.following.settle(earlier)
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
        result = await self._stored.result(task_id)
        if result is not None:
            return result
        if await self._stored.capability(task_id) is None:
            # It may have ended between the two looks.
            result = await self._stored.result(task_id)
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
            stored = await self._stored.capability(task_id)
            if stored is None and await self._stored.result(task_id) is None:
                raise TaskNotFound(task_id, "neither a task nor a result with this id is kept")
            capability = stored or "*"
        message = ErrorInfo(reason or f"canceled by {self.client}")
        won = await self._stored.conclude(Result(task=task_id, state="canceled", error=message))
        if not won:
            # It may be our own that is there, stored when the answer was lost on the way.
            first = await self._stored.result(task_id)
            won = first is not None and first.state == "canceled" and first.error == message
        if scheduled is not None:
            await schedules.purge(self._bus, task_id)
        await self._bus.api(
            f"STREAM.PURGE.{subjects.tasks_stream}", {"filter": subjects.task_anywhere(task_id)}
        )
        if capability != "*":
            self._bus.send(subjects.cancel(capability, task_id), codec.encode(message))
        return won

    def new_id(self, capability: str, key: str = "") -> str:
        """The id of a task that is about to be submitted: for one ``key`` always the same."""
        if key:
            digest = hashlib.sha256(f"{capability}\0{key}".encode()).hexdigest()
            return f"{KEYED}.{digest[:40]}"
        self._seq += 1
        return f"{self.client}.{self._seq}"

    async def adopt(self, handle: TaskHandle) -> None:
        """Follow a task that somebody else submits: settle its handle if it has ended."""
        self.following.register(handle)
        if handle.id.partition(".")[0] != self.client:
            await self.following.listen(handle)
            earlier = await self._stored.result(handle.id)
            if earlier is not None:
                self.following.settle(earlier)

    def abandon(self, handle: TaskHandle) -> None:
        """Follow a task no more: it was not submitted after all."""
        self.following.abandon(handle)

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
        self.following.register(handle)
        subject = self._bus.subjects.task(capability, priority, task_id)
        return handle, subject, data, h.encode(fields)

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
            if error.code in ApiError.FULL:
                raise QueueFull(
                    task_id, "the task queue is full; nothing was stored, try again later"
                ) from None
            raise


def _first(failed: ExceptionGroup[Exception]) -> Exception:
    found: Exception = failed
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
