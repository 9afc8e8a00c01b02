"""Tasks and calls on their way to things, and their results on the way back."""

from __future__ import annotations

import logging
import time
from functools import partial
from random import Random
from typing import Final

import msgspec

from bus import acks, codec, store
from bus.background import Background
from bus.backoff import retry_delay
from bus.errors import DecodeError
from bus.payloads import Payloads
from bus.telemetry import ResultRefused, TaskRun
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo, Progress, TaskState
from bus.wire.thing import ThingCancel, ThingDone, ThingProgress, ThingResult
from coordinator.things import holding, mqtt, outcome
from coordinator.things.desk import Desk, refusal
from coordinator.things.errand import Errand, Unfit
from coordinator.things.living import Refused
from coordinator.things.record import Holding, Record
from coordinator.things.word import Word

log = logging.getLogger("fleetbus.coordinator")

RETRY_BASE: Final = 0.5
RETRY_CAP: Final = 60.0


class Tasks:
    """What an agent's intake, executor and delivery do, done for things."""

    def __init__(self, desk: Desk) -> None:
        self.sent = 0
        """Tasks and calls, those not counted that were sent again."""
        self._desk = desk
        self._rng = Random()
        self._payloads = Payloads(desk.bus)
        self.background = Background(
            log, "a task for a thing was not passed on, and comes back by the ack wait"
        )
        """What it has begun."""

    # to the device

    def on_dispatch(self, message: Inbound) -> None:
        """A coordinator has forwarded a task or a call."""
        thing = message.subject.rsplit(".", 1)[1]
        try:
            errand = Errand(message, self._desk.clock.now())
        except DecodeError:
            if message.reply:
                self._desk.bus.send(message.reply, block=refusal("malformed"))
            raise
        self.background.spawn(self._take(thing, errand, message.reply))

    async def _take(self, thing: str, errand: Errand, reply: str) -> None:
        desk = self._desk
        try:
            body = errand.body(desk.most)
        except Unfit as problem:
            await self._reject(thing, errand, problem.error, "rejected")
            return
        if errand.job.deadline_ms and desk.clock.now() >= errand.job.deadline_ms:
            error = ErrorInfo("its deadline passed before it was sent to the thing", "Expired")
            await self._reject(thing, errand, error, "expired")
            return
        taking, record, revision = await desk.records.change(
            thing, lambda old: holding.take(old, errand.task, errand.job, desk.clock.now())
        )
        if taking not in ("taken", "held"):
            if reply:
                desk.bus.send(reply, block=refusal(taking))
            return
        if taking == "taken":
            self.sent += 1
            if errand.job.attempt > 1:
                await self._mark(thing, errand)
            body = msgspec.structs.replace(body, boot=record.boot)
            if not await mqtt.send(desk.bus, thing, "task", body):
                log.warning("task %s: this server has no MQTT sessions", errand.task)
        desk.beat(thing, record, revision)

    async def _mark(self, thing: str, errand: Errand) -> None:
        block = h.encode([(h.ATTEMPT, str(errand.job.attempt)), (h.AGENT, thing)])
        await store.publish(
            self._desk.bus, self._desk.bus.subjects.attempt(errand.task), b"", block
        )

    async def _reject(self, thing: str, errand: Errand, error: ErrorInfo, state: TaskState) -> None:
        """It cannot be sent to a device, and could not be sent to it later."""
        desk, via = self._desk, errand.job.via
        _, record, revision = await desk.records.change(
            thing, lambda old: (holding.count(old, via), None)
        )
        result = Result(errand.task, state, error=error, agent=thing, attempt=errand.job.attempt)
        await self._deliver(errand.job, result)
        desk.beat(thing, record, revision)

    async def send_again(self, thing: str, record: Record, jobs: dict[str, Holding]) -> None:
        """A thing does not know of what it holds: it did not get it, or has forgotten it.

        Raises:
            BusError, TimeoutError: the task could not be read, or not be sent.
        """
        for task, job in jobs.items():
            message = await self._stored(job)
            if message is None:
                # Canceled, or a call, which is stored nowhere.
                desk = self._desk
                _, record, revision = await desk.records.change(
                    thing, partial(holding.end, task=task)
                )
                desk.give_back(thing, {task: job} if job.reply else {}, all_of_it=False)
                desk.beat(thing, record, revision)
                continue
            errand = Errand.stored(task, job, message)
            body = msgspec.structs.replace(errand.body(self._desk.most), boot=record.boot)
            await mqtt.send(self._desk.bus, thing, "task", body)

    async def _stored(self, job: Holding) -> Inbound | None:
        if not job.ack:
            return None
        return await store.at(
            self._desk.bus,
            self._desk.bus.subjects.tasks_stream,
            acks.parse(job.ack).sequence,
        )

    async def cancel(self, thing: str, task: str, reason: str) -> bool:
        """Tell a thing that nobody wants a task's result; false if it does not hold it.

        Raises:
            BusError, TimeoutError: it could not be told.
        """
        record, _ = await self._desk.records.read(thing)
        if task not in record.held:
            return False
        await mqtt.send(self._desk.bus, thing, "cancel", ThingCancel(task, reason[:1000]))
        return True

    async def expire(self, thing: str, task: str, job: Holding) -> None:
        """The deadline has passed while a thing had the task.

        Raises:
            BusError, TimeoutError: as for ``on_result``.
        """
        error = ErrorInfo("its deadline passed before it completed", "DeadlineExceeded")
        result = Result(task, "expired", error=error, agent=thing, attempt=job.attempt)
        await self._deliver(job, result)
        await self._release(thing, task, "expired")
        await mqtt.send(self._desk.bus, thing, "cancel", ThingCancel(task, error.message))

    # from the device

    async def on_progress(self, word: Word, said: ThingProgress) -> None:
        """A sign of life from a task.

        Raises:
            Refused: it does not hold it.
            BusError, TimeoutError: the record could not be read.
        """
        record, _ = await self._desk.records.read(word.thing)
        job = record.held.get(said.task)
        if job is None:
            raise Refused(f"progress of task {said.task[:130]!r}, which it does not hold")
        progress = Progress(
            word.thing, job.attempt, said.seq, said.value, said.message, said.fraction
        )
        subject = self._desk.bus.subjects.progress(said.task)
        self._desk.bus.send(subject, codec.encode(progress))

    async def on_result(self, word: Word, said: ThingResult) -> None:
        """A task has ended. The device is told in any case that it may forget it.

        Raises:
            Refused: the thing was never given that task.
            BusError, TimeoutError: the result was not stored.
        """
        desk, thing, task = self._desk, word.thing, said.task
        record, _ = await desk.records.read(thing)
        if not holding.knows(record, task):
            await mqtt.send(desk.bus, thing, "done", ThingDone(task))
            raise Refused(f"a result of task {task[:130]!r}, which it was not given")
        job = record.held.get(task)
        if outcome.repeated(said, job):
            pass
        elif job is not None and outcome.again(said, job):
            if job.attempt < job.max_attempts:
                await self._again(thing, task, job, said.after_s)
                return
            await self._bury(thing, task, job, outcome.error_of(said))
        elif job is not None or not said.retry:
            # Of a task that was handed back meanwhile it may still be the first.
            run_ms = outcome.took(said, job, word.at_ms)
            result = outcome.result_of(thing, said, job, run_ms)
            await self._deliver(job, result)
            name = job.capability if job else ""
            desk.bus.hook.on_event(TaskRun(name, task, result.state, result.attempt, run_ms / 1000))
            await self._release(thing, task, result.state, run_ms)
        await mqtt.send(desk.bus, thing, "done", ThingDone(task))

    async def _again(self, thing: str, task: str, job: Holding, after: float) -> None:
        """It failed and is to be tried again."""
        desk = self._desk
        await self._release(thing, task, "failed")
        # First: a device that still knows it takes the next attempt for a repetition.
        await mqtt.send(desk.bus, thing, "done", ThingDone(task))
        delay = after or retry_delay(job.attempt, RETRY_BASE, RETRY_CAP, self._rng)
        desk.bus.send(job.ack, acks.nak(delay))

    async def _bury(self, thing: str, task: str, job: Holding, error: ErrorInfo) -> None:
        """It failed and was the last attempt."""
        desk = self._desk
        message = await self._stored(job)
        if message is not None:
            await store.bury(
                desk.bus,
                job.capability,
                task,
                message.data,
                error,
                attempt=job.attempt,
                agent=thing,
                content_type=message.headers.get(h.CONTENT_TYPE, h.JSON),
                payload=message.headers.get(h.PAYLOAD, ""),
            )
        result = Result(task, "failed", error=error, agent=thing, attempt=job.attempt)
        await self._deliver(job, result)
        await self._release(thing, task, "failed")

    async def _deliver(self, job: Holding | None, result: Result) -> None:
        """Store a result, and only then acknowledge its task; or answer a call."""
        desk = self._desk
        if self._payloads.too_big(result.output):
            name = f"out-{result.task}-{time.time_ns()}"
            await self._payloads.put(name, result.output)
            result = msgspec.structs.replace(result, output=b"", payload=name)
        if job is not None and job.reply:
            desk.bus.send(job.reply, result.output, block=results.encode(result))
            return
        if not await store.conclude(desk.bus, result):
            desk.bus.hook.on_event(ResultRefused(result.task))
        if job is not None:
            desk.bus.send(job.ack, b"+ACK")

    async def _release(self, thing: str, task: str, state: str, run_ms: float = 0.0) -> None:
        """A thing has a task off its hands."""
        _, record, revision = await self._desk.records.change(
            thing, lambda old: holding.end(old, task, state, run_ms)
        )
        if record.online:
            self._desk.beat(thing, record, revision)
