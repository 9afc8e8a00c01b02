"""What waits in the task queue, and what came out of it last: counts without a consumer."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import msgspec

from bus import store
from bus.client.timing import milliseconds
from bus.connection import ApiError, Bus
from bus.errors import DecodeError, InvalidName, TopologyMissing
from bus.subjects import PRIORITIES, TOKEN, task_tokens
from bus.transport import Inbound
from bus.wire import result as results
from bus.wire.result import Result

MOST: Final = 1000
"""Results that ``recent`` looks up at most."""


class Lane(msgspec.Struct, frozen=True):
    """The tasks of one capability and priority."""

    capability: str
    priority: int
    waiting: int = 0
    """Not given to any coordinator yet."""
    held: int = 0
    """Given out and not done: queued or running on an agent, or held by a coordinator."""
    served: bool = True
    """False if no agent has offered the capability yet, so that nobody takes from it."""


class Ended(NamedTuple):
    """A result and when the broker stored it, in Unix milliseconds."""

    at_ms: int
    result: Result


async def lanes(bus: Bus) -> list[Lane]:
    """All lanes in which a task is, and those from which somebody takes tasks.

    Raises:
        TopologyMissing: this fleet does not exist here.
    """
    stream = bus.subjects.tasks_stream
    found: dict[tuple[str, int], Lane] = {}
    async for info in _pages(bus, f"CONSUMER.LIST.{stream}", "consumers"):
        capability, _, priority = info["name"].rpartition("-")
        if priority in PRIORITIES and TOKEN.fullmatch(capability):
            lane = Lane(
                capability,
                PRIORITIES.index(priority),
                int(info.get("num_pending", 0)),
                int(info.get("num_ack_pending", 0)),
            )
            found[lane.capability, lane.priority] = lane
    state = (await _info(bus, stream))["state"]
    if state["messages"] > sum(lane.waiting + lane.held for lane in found.values()):
        # Some are for what nobody has offered. Only then is it worth to list all subjects.
        counts: Counter[tuple[str, int]] = Counter()
        async for capability, priority, _ in waiting(bus):
            counts[capability, priority] += 1
        for key, count in counts.items():
            if key not in found:
                found[key] = Lane(*key, waiting=count, served=False)
    return [found[key] for key in sorted(found)]


async def waiting(bus: Bus, capability: str = "*") -> AsyncIterator[tuple[str, int, str]]:
    """``(capability, priority, task id)`` of the tasks that are not done, in no order.

    Raises:
        TopologyMissing: this fleet does not exist here.
    """
    subjects = bus.subjects
    pattern = f"{subjects.root}.task.{capability}.*.*.*"
    offset = 0
    while True:
        body = {"subjects_filter": pattern, "offset": offset}
        info = await _info(bus, subjects.tasks_stream, body)
        page = info["state"].get("subjects") or {}
        for subject in page:
            try:
                name, priority, task_id = subjects.parse_task(subject)
            except DecodeError as problem:
                bus.drop(subject, problem)
                continue
            yield name, PRIORITIES.index(priority), task_id
        offset += len(page)
        if not page or offset >= info.get("total", 0):
            return


async def recent(bus: Bus, count: int) -> list[Ended]:
    """The latest results, at most ``count`` and ``MOST``, the newest first.

    Raises:
        TopologyMissing: this fleet does not exist here.
    """
    subjects = bus.subjects
    stream = subjects.results_stream
    state = (await _info(bus, stream))["state"]
    first, last = state["first_seq"], state["last_seq"]
    count = min(count, MOST)
    span = count
    while True:
        # Between results there may be markers of attempts, so that some tries are too short.
        start = max(first, last - span + 1)
        found = [
            ended
            async for message in store.scan(bus, stream, subjects.results, start=start)
            if (ended := _ended(bus, message)) is not None
        ]
        if len(found) >= count or start <= first:
            return found[::-1][:count]
        span *= 4


def _ended(bus: Bus, message: Inbound) -> Ended | None:
    fields = message.headers
    task_id = ".".join(fields.get("Nats-Subject", "").split(".")[-2:])
    try:
        task_tokens(task_id)
        at = milliseconds(fields.get("Nats-Time-Stamp", ""))
        return Ended(at, results.decode(task_id, fields, message.data))
    except (DecodeError, InvalidName, ValueError) as problem:
        bus.drop(message.subject, problem)
        return None


async def _info(bus: Bus, stream: str, body: Any = None) -> dict[str, Any]:
    try:
        return await bus.api(f"STREAM.INFO.{stream}", body)
    except ApiError as error:
        if error.code == ApiError.NO_STREAM:
            raise TopologyMissing(bus.subjects.fleet) from None
        raise


async def _pages(bus: Bus, verb: str, key: str) -> AsyncIterator[dict[str, Any]]:
    offset = 0
    while True:
        try:
            answer = await bus.api(verb, {"offset": offset})
        except ApiError as error:
            if error.code == ApiError.NO_STREAM:
                raise TopologyMissing(bus.subjects.fleet) from None
            raise
        page = answer.get(key) or []
        for one in page:
            yield one
        offset += len(page)
        if not page or offset >= answer.get("total", 0):
            return
