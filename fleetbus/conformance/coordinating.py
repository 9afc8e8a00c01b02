"""The suite as the coordinator and the client: real tasks from the real stream, one at a time."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any, Final

from bus import codec, consumers, store
from bus.connection import Bus
from bus.topology import SECOND
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.task import ErrorInfo
from fleetbus.conformance.check import Failed
from fleetbus.conformance.given import Given
from fleetbus.conformance.record import Record

VIA: Final = "c-suite"
CLIENT: Final = "suite"
PULL: Final = 0.5
"""Seconds that one pull waits at the broker."""

Fields = Sequence[tuple[str, str]]


class Coordinating:
    """Submits tasks, takes them from their consumer and dispatches them to one agent."""

    def __init__(self, bus: Bus, record: Record, agent: str, ack_wait: float) -> None:
        self._bus = bus
        self._record = record
        self._agent = agent
        self._ack_wait = ack_wait
        self._inbox = bus.nc.new_inbox()
        self._pulls = bus.nc.new_inbox()
        self._numbers = itertools.count(1)
        self._lanes: set[str] = set()
        self._wanted: dict[str, asyncio.Future[Inbound]] = {}
        self.given: list[Given] = []
        """All dispatches since ``tidied``."""

    async def start(self) -> None:
        """Listen for answers."""
        await self._bus.listen(f"{self._inbox}.>", self._record.add)
        await self._bus.listen(self._pulls, self._on_pulled)

    def new_id(self) -> str:
        """The id of a task that nobody else has."""
        return f"{CLIENT}.{next(self._numbers)}"

    async def submit(
        self, capability: str, data: bytes, fields: Fields = (), task_id: str = ""
    ) -> str:
        """Store a task as a client does; returns its id."""
        chosen = task_id or self.new_id()
        block = h.encode([(h.MSG_ID, chosen), (h.CONTENT_TYPE, h.JSON), *fields])
        await store.publish(
            self._bus, self._bus.subjects.task(capability, "p1", chosen), data, block
        )
        return chosen

    async def pull(self, capability: str, task_id: str) -> Inbound:
        """The next delivery of a stored task, from the consumer that coordinators use."""
        if capability not in self._lanes:
            await consumers.ensure_lanes(self._bus, capability, self._ack_wait)
            self._lanes.add(capability)
        subjects = self._bus.subjects
        consumer = subjects.consumer(capability, "p1")
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.tasks_stream}.{consumer}"
        future: asyncio.Future[Inbound] = asyncio.get_running_loop().create_future()
        self._wanted[task_id] = future
        until = time.monotonic() + self._record.timeout + self._ack_wait
        try:
            while time.monotonic() < until:
                question = {"batch": 1, "expires": int(PULL * SECOND)}
                self._bus.send(subject, codec.encode(question), self._pulls)
                done, _ = await asyncio.wait((future,), timeout=PULL)
                if done:
                    return future.result()
        finally:
            del self._wanted[task_id]
        raise Failed(f"the broker gives out the {capability} task {task_id}", "it does not")

    def dispatch(
        self,
        capability: str,
        task_id: str,
        data: bytes,
        fields: Fields = (),
        *,
        ack: str = "",
        inbox: str = "",
        attempt: int = 1,
        via: str = VIA,
    ) -> Given:
        """Send something to the agent as a coordinator does."""
        own = [(h.TASK, task_id), (h.CAPABILITY, capability), (h.VIA, via)]
        if ack:
            own.append((h.ACK, ack))
        if inbox:
            own.append((h.REPLY, inbox))
        if attempt > 1:
            own.append((h.ATTEMPT, str(attempt)))
        return self.raw(h.encode([*fields, *own]), data, capability, task_id, ack, inbox)

    def raw(
        self,
        block: bytes,
        data: bytes,
        capability: str = "",
        task_id: str = "",
        ack: str = "",
        inbox: str = "",
    ) -> Given:
        """Send the agent a dispatch with this header block, whatever it is."""
        answers = f"{self._inbox}.answer.{next(self._numbers)}"
        given = Given(
            self._record,
            self._bus.subjects,
            task_id,
            capability,
            data,
            self._record.mark(),
            answers,
            ack,
            inbox,
        )
        self._bus.send(self._bus.subjects.dispatch(self._agent), data, answers, block)
        if ack or inbox:
            self.given.append(given)
        return given

    async def give(
        self,
        capability: str,
        value: Any = None,
        fields: Fields = (),
        *,
        body: bytes | None = None,
        attempt: int = 1,
        via: str = VIA,
        task_id: str = "",
    ) -> Given:
        """Submit a task, take it from the stream and dispatch it.

        Args:
            value: the input, an object of parameters; none is an empty one.
            body: the input as it is, instead.
            fields: headers that the client sets.
        """
        data = codec.encode(value or {}) if body is None else body
        chosen = await self.submit(capability, data, fields, task_id)
        delivery = await self.pull(capability, chosen)
        return self.dispatch(
            capability,
            chosen,
            data,
            [(h.CONTENT_TYPE, h.JSON), *fields],
            ack=delivery.reply,
            attempt=attempt,
            via=via,
        )

    async def again(
        self, given: Given, fields: Fields = (), *, attempt: int = 1, via: str = VIA
    ) -> Given:
        """Take the next delivery of the same task and dispatch it to the same agent."""
        delivery = await self.pull(given.capability, given.id)
        return self.dispatch(
            given.capability,
            given.id,
            given.data,
            fields,
            ack=delivery.reply,
            attempt=attempt,
            via=via,
        )

    def take_from(self, given: Given) -> None:
        """Have the broker give a task out again that the agent holds."""
        self._bus.send(given.ack, b"-NAK")

    def call(
        self, capability: str, value: Any = None, fields: Fields = (), *, via: str = VIA
    ) -> Given:
        """Dispatch a call."""
        number = next(self._numbers)
        inbox = f"{self._inbox}.call.{number}"
        data = codec.encode(value or {})
        return self.dispatch(
            capability, f"call.{CLIENT}-{number}", data, fields, inbox=inbox, via=via
        )

    def cancel(self, given: Given, reason: str) -> None:
        """Tell the agent, as a client does, that nobody wants the task."""
        subject = self._bus.subjects.cancel(given.capability, given.id)
        self._bus.send(subject, codec.encode(ErrorInfo(reason)))

    def _on_pulled(self, message: Inbound) -> None:
        task_id = ".".join(message.subject.split(".")[-2:])
        future = self._wanted.get(task_id)
        if message.reply and future is not None and not future.done():
            future.set_result(message)
