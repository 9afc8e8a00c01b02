"""From an outcome to the broker: store the result, then acknowledge the task.

This is the only place that acknowledges. A result is published until the broker says that it
is stored, or that it has one already; only then is the task acknowledged. Dying anywhere in
between makes the broker give the task out again, and refuse the second result.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from agent_runtime.held import Held
from agent_runtime.outcome import (
    Again,
    Canceled,
    Completed,
    Expired,
    Failed,
    HandedBack,
    Outcome,
    Rejected,
)
from bus import acks, store
from bus.answers import Expected
from bus.background import Background
from bus.backoff import retry_delay
from bus.connection import ApiError, Bus
from bus.errors import BusError, Disconnected
from bus.payloads import Payloads
from bus.telemetry import NOBODY, ResultRefused, TaskRun
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo, TaskState

log = logging.getLogger("fleetbus.agent")

RETRY_BASE: Final = 0.5
RETRY_CAP: Final = 60.0
PUBLISH_PAUSE: Final = 1.0
"""Seconds before a result that the broker would not take is published again."""

_WRONG_SEQUENCE: Final = b"%d" % ApiError.WRONG_LAST_SEQUENCE


class Delivery:
    """Brings the outcomes of one agent to the broker."""

    def __init__(
        self, bus: Bus, agent: str, on_refused: Callable[[], None], release: Callable[[Held], None]
    ) -> None:
        """``release`` is called with each held task once the broker has it off our hands."""
        self.unstored = 0
        """Results that are on their way."""
        self.bus = bus
        self._agent = agent
        self._on_refused = on_refused
        self._release = release
        self._payloads = Payloads(bus)
        self._rng = random.Random()
        self._background = Background(log, "an outcome was not delivered, and the task comes back")

    def finish(self, held: Held, outcome: Outcome, run: float) -> TaskState:
        """Deliver an outcome of ``held``, which ran for ``run`` seconds; returns its state."""
        state: TaskState
        match outcome:
            case Completed(output, content_type):
                state = "completed"
                self._conclude(held, state, run, output, content_type)
            case Rejected(error):
                state = "rejected"
                self._conclude(held, state, run, error=error)
            case Canceled(error):
                state = "canceled"
                self._conclude(held, state, run, error=error)
            case Expired(error):
                state = "expired"
                self._conclude(held, state, run, error=error)
            case Failed(error):
                state = "failed"
                self._conclude(held, state, run, error=error)
            case Again(error, after):
                if held.reply or held.attempt < held.max_attempts:
                    state = self._again(held, error, after, run)
                else:
                    state = "failed"
                    self._background.spawn(
                        self._bury(held, error, run), partial(self._release, held)
                    )
            case HandedBack(started):
                state = "submitted"
                self._background.spawn(self._hand_back(held, started), partial(self._release, held))
        if self.bus.hook is not NOBODY:
            self.bus.hook.on_event(TaskRun(held.offer.name, held.id, state, held.attempt, run))
        return state

    async def mark_attempt(self, held: Held, attempt: int) -> None:
        """Store how many attempts have begun, before one that is not the first begins.

        Deliveries do not say it: one that never reached a handler is not an attempt.

        Raises:
            BusError: it could not be stored.
        """
        block = h.encode([(h.ATTEMPT, str(attempt)), (h.AGENT, self._agent)])
        await store.publish(self.bus, self.bus.subjects.attempt(held.id), b"", block)

    async def drained(self) -> None:
        """Return when nothing is on its way to the broker."""
        while self.unstored or len(self._background):
            await self._background.settled()
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Give up what is on its way; the broker will give those tasks out again."""
        await self._background.cancel()

    # the inside

    def _conclude(
        self,
        held: Held,
        state: TaskState,
        run: float,
        output: bytes = b"",
        content_type: str = h.JSON,
        error: ErrorInfo | None = None,
    ) -> None:
        """Deliver the one terminal result."""
        result = Result(
            held.id,
            state,
            output,
            content_type,
            self._agent,
            held.attempt,
            error,
            held.queued_ms,
            run * 1000,
            held.usage,
        )
        self.unstored += 1
        if self._payloads.too_big(output):
            self._background.spawn(self._offload(held, result), partial(self._release, held))
        else:
            self._publish(held, result)

    def _publish(self, held: Held, result: Result) -> None:
        """Send the result where it belongs. ``unstored`` counts it already."""
        if held.reply:
            self.bus.send(held.reply, result.output, block=results.encode(result))
            self.unstored -= 1
            self._release(held)
        else:
            _Unstored(self, held, result.output, results.encode(result, once=True)).send()

    def settled(self, held: Held, refused: bool) -> None:
        """The broker has stored the result of a task, or has refused it: there was one."""
        if refused:
            self._on_refused()
            self.bus.hook.on_event(ResultRefused(held.id))
        self.unstored -= 1
        self._release(held)
        self.bus.send(held.ack, b"+ACK")

    def _again(self, held: Held, error: ErrorInfo, after: float | None, run: float) -> TaskState:
        if held.reply:
            # A call is not stored anywhere: its caller decides whether to try again.
            self._conclude(held, "failed", run, error=error)
            return "failed"
        delay = after
        if delay is None:
            delay = retry_delay(held.attempt, RETRY_BASE, RETRY_CAP, self._rng)
        self.bus.send(held.ack, acks.nak(delay))
        self._release(held)
        return "submitted"

    async def _bury(self, held: Held, error: ErrorInfo, run: float) -> None:
        """Out of attempts: keep the task for an operator, then fail it."""
        await store.bury(
            self.bus,
            held.offer.name,
            held.id,
            held.data,
            error,
            attempt=held.attempt,
            agent=self._agent,
            content_type=held.content_type,
            payload=held.payload,
        )
        self._conclude(held, "failed", run, error=error)

    async def _hand_back(self, held: Held, started: bool) -> None:
        if held.reply:
            error = ErrorInfo("the agent stopped before it was done", "AgentStopped")
            self._conclude(held, "failed", 0.0, error=error)
            return
        if not started and held.attempt == 1:
            # Without this the first delivery counts as an attempt.
            await self.mark_attempt(held, 0)
        self.bus.send(held.ack, b"-NAK")
        self._release(held)

    async def _offload(self, held: Held, result: Result) -> None:
        name = f"out-{held.id}-{time.time_ns()}"
        while True:
            try:
                await self._payloads.put(name, result.output)
            except BusError as problem:
                log.warning("task %s: %s; trying again", held.id, problem)
                await asyncio.sleep(PUBLISH_PAUSE)
            else:
                break
        self._publish(held, msgspec.structs.replace(result, output=b"", payload=name))


class _Unstored(Expected):
    """A result on its way to the broker: sent until it is stored, or refused as the second."""

    __slots__ = ("_block", "_delivery", "_held", "_output")

    def __init__(self, delivery: Delivery, held: Held, output: bytes, block: bytes) -> None:
        self._delivery = delivery
        self._held = held
        self._output = output
        self._block = block

    def send(self) -> None:
        """Send it, again if need be."""
        bus = self._delivery.bus
        reply = bus.expect(self)
        try:
            bus.send(bus.subjects.result(self._held.id), self._output, reply, self._block)
        except Disconnected as problem:
            # The send buffer is full. The task stays ours: the result is here, not there.
            bus.forget(reply)
            if bus.nc.is_closed:
                log.error("task %s: its result is lost to this agent: %s", self._held.id, problem)
                self._delivery.unstored -= 1
                return
            bus.loop.call_later(PUBLISH_PAUSE, self.send)

    def on_lost(self) -> None:
        """Whether it is stored is not known; the broker refuses the second."""
        self.send()

    def on_reply(self, message: Inbound) -> None:
        """The broker has answered."""
        refused = False
        if b'"error"' in message.data or message.status:
            if _WRONG_SEQUENCE not in message.data:
                log.warning(
                    "task %s: the broker did not store its result, trying again: %s",
                    self._held.id,
                    message.data.decode("utf-8", "replace") or f"status {message.status}",
                )
                self._delivery.bus.loop.call_later(PUBLISH_PAUSE, self.send)
                return
            refused = True
        self._delivery.settled(self._held, refused)
