"""Tasks that the broker submits later, once or again and again.

A schedule is a message in the stream SCHEDULES. When its time has come the broker publishes a
copy there, which a coordinator takes to the stream TASKS: from then on it is a task like any
other. Needs nats-server 2.12, and 2.14 for repeated ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Unpack

import msgspec

from bus import store
from bus.client import registry
from bus.client.handle import TaskHandle
from bus.client.options import (
    DEADLINE,
    TaskOptions,
    deadline_ms,
    encode_input,
    header_fields,
    priority_token,
)
from bus.client.timing import milliseconds, once, repeated
from bus.connection import ApiError, Bus
from bus.errors import DecodeError, NoAgent, TaskNotFound, TaskRejected, TopologyMissing
from bus.subjects import PRIORITIES, TOKEN, task_tokens, token
from bus.topology import REPEAT_LEVEL, SCHEDULES_LEVEL
from bus.transport import Inbound
from bus.wire import headers as h

if TYPE_CHECKING:
    from bus.client.tasks import Tasks

SCHEDULE: Final = "Nats-Schedule"
TARGET: Final = "Nats-Schedule-Target"

INVALID: Final = 10189
"""JetStream's error code for a schedule that it cannot read."""

Fields = list[tuple[str, str]]


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """A schedule as the broker keeps it. One that has fired for the last time is gone."""

    id: str
    """Of the schedule, and of its task if that is only one."""
    capability: str
    pattern: str
    """``@at <time>``, ``@every <duration>``, or a cron expression in UTC, seconds first."""
    priority: int = 1
    at_ms: int = 0
    """Unix time in milliseconds; 0 for a repeated one."""
    created_ms: int = 0
    caller: str = ""
    select: str = ""
    size: int = 0
    """Bytes of the input."""


class Schedules:
    """The schedules of one fleet, as a client sees them: ``client.schedules``."""

    def __init__(self, bus: Bus, tasks: Tasks) -> None:
        self._bus = bus
        self._tasks = tasks

    async def schedule(
        self,
        capability: str,
        value: Any = None,
        *,
        at: datetime | None = None,
        every: float | str | None = None,
        **options: Unpack[TaskOptions],
    ) -> str:
        """Have a task submitted at a time, or again and again; returns the schedule's id.

        Args:
            capability, value, **options: as for ``Tasks.submit``.
            at: as for ``once``; a time that has passed means now.
            every: as for ``repeated``.

        Raises:
            TaskRejected: not exactly one of ``at`` and ``every``, or one is out of its range.
            FeatureMissing, NoAgent, ...: as for ``at`` and ``every``.
        """
        if (at is None) == (every is None):
            raise TaskRejected("", "give either at or every", field="at")
        if at is not None:
            return (await self.at(capability, value, at, **options)).id
        return await self.every(capability, value, every or 0, **options)

    async def at(
        self, capability: str, value: Any, when: datetime, **options: Unpack[TaskOptions]
    ) -> TaskHandle:
        """One task, submitted by the broker at ``when``. Its handle works as after ``submit``,
        and canceling it takes the schedule back. A ``deadline`` counts from ``when``.

        The same ``key`` again before that time moves it; afterwards it is the same task.

        Raises:
            FeatureMissing: the server is older than 2.12.
            TaskRejected: an option is out of its range, or the input does not fit a message.
            NoAgent, InvalidSelector, InvalidName, TopologyMissing, Disconnected: as for
                ``Tasks.submit``.
        """
        late = options.get("deadline")
        if late is not None:
            wait = max(0.0, when.timestamp() - datetime.now().timestamp())
            options["deadline"] = late + wait
        await self._require()
        task_id, fields, data, subject = await self._prepare(capability, value, options)
        with _no_deadline():
            handle = TaskHandle(self._tasks, task_id, capability, deadline_ms(options))
        await self._tasks.adopt(handle)
        if handle.finished.done():
            return handle
        try:
            await self._store(task_id, once(when), subject, fields, data)
        except BaseException:
            self._tasks.abandon(handle)
            raise
        return handle

    async def every(
        self, capability: str, value: Any, period: float | str, **options: Unpack[TaskOptions]
    ) -> str:
        """A task every ``period`` (see ``repeated``) until the schedule is removed.

        Returns the schedule's id. Each firing is a task of its own, with the id
        ``<schedule id>-<n>``; ``client.watch("done")`` shows their results. The same ``key``
        again replaces the schedule.

        Raises:
            As for ``at``. ``FeatureMissing`` below 2.14, and ``TaskRejected`` also for a
                ``deadline``, which would be in the past for all firings but the first.
        """
        pattern = repeated(period)
        if "deadline" in options:
            raise TaskRejected("", "a repeated task takes no deadline", field="deadline")
        await self._require(REPEAT_LEVEL)
        task_id, fields, data, subject = await self._prepare(capability, value, options)
        await self._store(task_id, pattern, subject, fields, data)
        return task_id

    async def list(self) -> AsyncIterator[Schedule]:
        """All schedules of the fleet, the oldest first.

        Raises:
            FeatureMissing: the server is older than 2.12.
            TopologyMissing: this fleet does not exist here.
        """
        await self._require()
        subjects = self._bus.subjects
        async for message in store.scan(self._bus, subjects.schedules_stream, subjects.schedules):
            try:
                yield _read(message)
            except DecodeError as problem:
                self._bus.drop(message.subject, problem)

    async def remove(self, schedule_id: str) -> None:
        """Take a schedule back. The task of one that has not fired yet ends as canceled.

        Raises:
            TaskNotFound: no schedule has this id; one that fired once is a task now.
            FeatureMissing: the server is older than 2.12.
            InvalidName: that is not an id.
        """
        task_tokens(schedule_id)
        await self._require()
        found = await find(self._bus, schedule_id)
        if found is None:
            raise TaskNotFound(schedule_id, "no schedule has this id")
        await self._tasks.cancel(schedule_id, found.capability, "its schedule was removed")

    # the inside

    async def _require(self, level: int = SCHEDULES_LEVEL) -> None:
        what = "scheduling a task" if level == SCHEDULES_LEVEL else "repeating a task"
        await self._bus.require(what, level)

    async def _prepare(
        self, capability: str, value: Any, options: TaskOptions
    ) -> tuple[str, Fields, bytes, str]:
        """Check and encode: the id, the headers, the input, and where it is to go."""
        token("capability", capability)
        priority = priority_token(options)
        data, content_type = encode_input(value, options.get("content_type"))
        with _no_deadline():
            fields = header_fields(options, content_type)
        if self._tasks.payloads.too_big(data):
            raise TaskRejected(
                "",
                f"the input of a scheduled task must fit a message and has {len(data)} bytes: "
                "store it elsewhere and pass a reference",
                field="value",
            )
        task_id = self._tasks.new_id(capability, options.get("key", ""))
        if options.get("require_agent"):
            select = options.get("select", "")
            if not await registry.offers(self._bus, capability, select):
                raise NoAgent(task_id, f"no matching agent offers {capability!r} now")
        fields.append((h.CALLER, self._tasks.client))
        return task_id, fields, data, self._bus.subjects.due(capability, priority, task_id)

    async def _store(
        self,
        task_id: str,
        pattern: str,
        target: str,
        fields: Fields,
        data: bytes,
    ) -> None:
        fields += [
            (SCHEDULE, pattern),
            (TARGET, target),
            # Sent twice it is one schedule; another time for the same id replaces it.
            (h.MSG_ID, f"{task_id} {pattern}"),
        ]
        subject = self._bus.subjects.schedule(task_id)
        try:
            await store.publish(self._bus, subject, data, h.encode(fields))
        except ApiError as error:
            if error.code != INVALID:
                raise
            raise TaskRejected(
                task_id, f"the broker cannot read the schedule {pattern!r}", field="every"
            ) from None


async def find(bus: Bus, schedule_id: str) -> Schedule | None:
    """A schedule, or None if there is none, or none can be, on this server."""
    subjects = bus.subjects
    try:
        message = await store.last(bus, subjects.schedules_stream, subjects.schedule(schedule_id))
    except TopologyMissing:
        return None  # a server below 2.12 has no such stream
    return None if message is None else _read(message)


async def capability_of(bus: Bus, task_id: str) -> str | None:
    """The capability of a task that is scheduled, or due and not queued yet; else None."""
    found = await find(bus, task_id)
    if found is not None:
        return found.capability
    subjects = bus.subjects
    try:
        async for message in store.scan(
            bus, subjects.schedules_stream, subjects.due("*", "*", task_id), batch=1
        ):
            return message.headers["Nats-Subject"].split(".")[3]
    except TopologyMissing:
        pass  # as in ``find``
    return None


async def purge(bus: Bus, schedule_id: str) -> None:
    """Delete a schedule; what it has fired is a task and stays."""
    subjects = bus.subjects
    await bus.api(
        f"STREAM.PURGE.{subjects.schedules_stream}", {"filter": subjects.schedule(schedule_id)}
    )


@contextmanager
def _no_deadline() -> Iterator[None]:
    """A task that schedules another one does not pass its own deadline on to it."""
    outer = DEADLINE.set(0)
    try:
        yield
    finally:
        DEADLINE.reset(outer)


def _read(message: Inbound) -> Schedule:
    fields = message.headers
    origin = fields.get("Nats-Subject", message.subject).split(".")
    target = fields.get(TARGET, "").split(".")
    pattern = fields.get(SCHEDULE, "")
    shaped = len(origin) == 5 and len(target) == 7 and target[4] in PRIORITIES and pattern
    if not shaped or not all(map(TOKEN.fullmatch, (*origin[3:], target[3]))):
        raise DecodeError("schedule", f"{'.'.join(origin)[:200]!r} is none of ours")
    try:
        created = milliseconds(fields.get("Nats-Time-Stamp", ""))
        at = milliseconds(pattern.removeprefix("@at ")) if pattern.startswith("@at ") else 0
    except ValueError as problem:
        raise DecodeError("schedule", str(problem)) from None
    return Schedule(
        id=f"{origin[3]}.{origin[4]}",
        capability=target[3],
        pattern=pattern,
        priority=PRIORITIES.index(target[4]),
        at_ms=at,
        created_ms=created,
        caller=fields.get(h.CALLER, ""),
        select=fields.get(h.SELECT, ""),
        size=len(message.data),
    )
