"""Tasks that ran out of attempts: look at them, and try them again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from bus import codec, store
from bus.client.timing import milliseconds
from bus.connection import ApiError, Bus
from bus.errors import DecodeError, TaskNotFound
from bus.subjects import TOKEN, task_tokens
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.task import DeadTask, ErrorInfo

if TYPE_CHECKING:
    from bus.client.handle import TaskHandle
    from bus.client.tasks import Tasks


class Dead:
    """The dead letters of one fleet."""

    def __init__(self, bus: Bus, tasks: Tasks) -> None:
        self._bus = bus
        self._tasks = tasks

    async def list(self, capability: str = "*") -> AsyncIterator[DeadTask]:
        """Dead tasks, the oldest first.

        Raises:
            TopologyMissing: this fleet does not exist here.
        """
        subjects = self._bus.subjects
        pattern = f"{subjects.root}.dead.{capability}.*.*"
        async for message in store.scan(self._bus, subjects.dead_stream, pattern):
            try:
                yield _read(message)
            except DecodeError as problem:
                self._bus.drop(message.subject, problem)

    async def retry(self, task_id: str) -> TaskHandle:
        """Submit a dead task again, as a new task with attempts of its own, and remove it
        from the dead. Its id changes, because the old one has its result: failed.

        Raises:
            TaskNotFound: no dead task has this id.
            QueueFull: the broker has no room for another task.
        """
        task_tokens(task_id)
        subjects = self._bus.subjects
        pattern = f"{subjects.root}.dead.*.{task_id}"
        async for message in store.scan(self._bus, subjects.dead_stream, pattern, batch=1):
            dead = _read(message)
            name = message.headers.get(h.PAYLOAD)
            data = await self._tasks.payloads.get(name) if name else dead.payload
            # The key makes a second retry of the same death the same task.
            handle = await self._tasks.submit(
                dead.capability,
                data,
                content_type=dead.content_type,
                key=f"retry-{task_id}-{message.headers.get('Nats-Sequence', '')}",
            )
            await self._remove(int(message.headers["Nats-Sequence"]))
            return handle
        raise TaskNotFound(task_id, "no dead task has this id")

    async def _remove(self, sequence: int) -> None:
        try:
            await self._bus.api(
                f"STREAM.MSG.DELETE.{self._bus.subjects.dead_stream}", {"seq": sequence}
            )
        except ApiError as error:
            # Somebody else retried the same one just now: it is removed, which was the aim.
            if error.code not in (10043, ApiError.NO_MESSAGE):
                raise


def _read(message: Inbound) -> DeadTask:
    fields = message.headers
    parts = fields.get("Nats-Subject", message.subject).split(".")
    if len(parts) != 6 or not all(map(TOKEN.fullmatch, parts[3:])):
        raise DecodeError("dead task", f"{'.'.join(parts)[:200]!r} is none of ours")
    error = fields.get(h.ERROR, "")
    attempt = fields.get(h.ATTEMPT, "0")
    try:
        dead_ms = milliseconds(fields.get("Nats-Time-Stamp", ""))
    except ValueError:
        dead_ms = 0
    return DeadTask(
        task=f"{parts[4]}.{parts[5]}",
        capability=parts[3],
        error=codec.decode(ErrorInfo, error.encode()) if error else ErrorInfo("unknown"),
        attempt=int(attempt) if attempt.isdigit() else 0,
        agent=fields.get(h.AGENT, ""),
        dead_ms=dead_ms,
        payload=message.data,
        content_type=fields.get(h.CONTENT_TYPE, h.JSON),
    )
