"""What a coordinator decides about work instead of an agent: the rare endings."""

from __future__ import annotations

import asyncio
import logging
import random

from bus import acks, store
from bus.background import Background
from bus.connection import Bus
from bus.telemetry import Buried, Expired, Redelivered
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from coordinator.work import Work

log = logging.getLogger("fleetbus.coordinator")


class Verdicts:
    """Writes results, buries, gives back. Each is safe to repeat by another coordinator."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._rng = random.Random()
        self._background = Background(
            log, "a decision was not carried out, and the task comes back"
        )

    def expired(self, work: Work) -> None:
        """The deadline passed before the task was placed."""
        self._bus.hook.on_event(Expired(work.capability, work.task_id))
        error = ErrorInfo("its deadline passed before an agent had room for it", "Expired")
        self._conclude(work, Result(work.task_id, "expired", error=error))

    def no_agent(self, work: Work) -> None:
        """A call that nobody can take."""
        what = f"{work.capability!r}" + (f" and matches {work.select!r}" if work.select else "")
        error = ErrorInfo(f"no agent offers {what} now", "NoAgent")
        self._conclude(work, Result(work.task_id, "rejected", error=error))

    def stopping(self, work: Work) -> None:
        """A call that waits here while this coordinator stops."""
        error = ErrorInfo("the coordinator stopped before an agent had room", "Stopped")
        self._conclude(work, Result(work.task_id, "failed", error=error))

    def lost(self, work: Work, agent: str) -> None:
        """A call whose agent was lost before it could have answered."""
        error = ErrorInfo(f"agent {agent} was lost while it had the call", "AgentLost")
        self._conclude(work, Result(work.task_id, "failed", error=error, agent=agent))

    def poison(self, work: Work, why: str) -> None:
        """Work that cannot be understood."""
        self._bus.hook.on_event(Buried(work.capability, work.task_id, why))
        error = ErrorInfo(f"it cannot be read: {why}", "Malformed")
        if work.reply:
            self._conclude(work, Result(work.task_id, "rejected", error=error))
        else:
            self._background.spawn(self._bury(work, error, 0, ""))

    def give_back(self, work: Work, delay: float) -> None:
        """Have the broker give a task out again after about ``delay`` seconds."""
        self._background.spawn(self._give_back(work, delay))

    async def _give_back(self, work: Work, delay: float) -> None:
        if work.first:
            # A delivery that reached no handler is not an attempt.
            await self._mark(work.task_id, 0)
        pause = self._rng.uniform(delay / 2, delay)
        self._bus.send(work.ack, acks.nak(pause) if pause else b"-NAK")

    async def look_back(self, work: Work) -> bool:
        """A task was given out again: find out whether it is to be placed, and as which
        attempt. False if it has ended or is ended here.

        Raises:
            BusError, TimeoutError: the broker could not be asked.
        """
        subjects = self._bus.subjects
        stream = subjects.results_stream
        ended, marker = await asyncio.gather(
            store.last(self._bus, stream, subjects.result(work.task_id)),
            store.last(self._bus, stream, subjects.attempt(work.task_id)),
        )
        if ended is not None:
            self._bus.send(work.ack, b"+ACK")
            return False
        begun, agent = 0 if work.first else 1, ""
        if marker is not None:
            try:
                begun = max(0, int(marker.headers.get(h.ATTEMPT, "1")))
            except ValueError:
                log.warning("task %s: its attempt marker is not a number", work.task_id)
            agent = marker.headers.get(h.AGENT, "")
        self._bus.hook.on_event(Redelivered(work.capability, work.task_id, begun))
        if begun >= work.max_attempts:
            last = f", the last on agent {agent}" if agent else ""
            error = ErrorInfo(
                f"lost with its agent {begun} times{last}: attempts are used up", "AgentLost"
            )
            self._bus.hook.on_event(Buried(work.capability, work.task_id, error.message))
            await self._bury(work, error, begun, agent)
            return False
        work.attempt = begun + 1
        return True

    async def stop(self) -> None:
        """Return when all that was decided is done."""
        await self._background.settled()

    # the inside

    def _conclude(self, work: Work, result: Result) -> None:
        if work.reply:
            self._bus.send(work.reply, result.output, block=results.encode(result))
        else:
            self._background.spawn(self._write(work, result, b"+ACK"))

    async def _write(self, work: Work, result: Result, ack: bytes) -> None:
        await store.conclude(self._bus, result)
        self._bus.send(work.ack, ack)

    async def _bury(self, work: Work, error: ErrorInfo, attempt: int, agent: str) -> None:
        fields = h.decode(work.block) if work.block else {}
        await store.bury(
            self._bus,
            work.capability,
            work.task_id,
            work.data,
            error,
            attempt=attempt,
            agent=agent,
            content_type=fields.get(h.CONTENT_TYPE, h.JSON),
            payload=fields.get(h.PAYLOAD, ""),
        )
        result = Result(work.task_id, "failed", error=error, attempt=attempt, agent=agent)
        await self._write(work, result, b"+TERM")

    async def _mark(self, task_id: str, begun: int) -> None:
        block = h.encode([(h.ATTEMPT, str(begun))])
        await store.publish(self._bus, self._bus.subjects.attempt(task_id), b"", block)
